"""How defects of pages and cursors show."""

from probes import foreign, ids, lost, pages_caller, probe, quiet, readable, row_gone, tampered, walk


@probe("boundary-row-again")
async def boundary_row_again(caller):
    pages, _ = await quiet(caller)
    return pages[1][0] == pages[0][-1]


@probe("next-dropped")
async def next_dropped(caller):
    await pages_caller(caller, 18)
    pages, ended = await walk(caller)
    return ended == "end" and len(ids(pages)) == 15


@probe("endless")
async def endless(caller):
    return (await quiet(caller))[1] == "endless"


@probe("next-after-end")
async def next_after_end(caller):
    pages, ended = await quiet(caller)
    return ended == "error" and len(set(ids(pages))) == 12


@probe("lone-last-row-lost")
async def lone_last_row_lost(caller):
    await pages_caller(caller, 11)
    pages, ended = await walk(caller)
    return ended == "end" and len(ids(pages)) == 10


@probe("sealed-offset")
async def sealed_offset(caller):
    return await lost(caller)


@probe("offset-cursor")
async def offset_cursor(caller):
    return await lost(caller) and await readable(await caller.login("sacrificial_pages"))


@probe("row-dropped")
async def row_dropped(caller):
    pages, ended = await quiet(caller)
    return ended == "end" and len(ids(pages)) == 11


@probe("sort-key-only")
async def sort_key_only(caller):
    pages, ended = await quiet(caller)
    return ended == "end" and len(ids(pages)) == 5


@probe("ties-shuffled")
async def ties_shuffled(caller):
    first, second = (await quiet(caller))[0], (await walk(caller))[0]
    assert sorted(ids(first)) == sorted(ids(second))
    return ids(first) != ids(second)


@probe("pages-reversed")
async def pages_reversed(caller):
    pages, _ = await quiet(caller, rise=1)
    return [rows[0]["price"] for rows in pages] == ["100.00", "109.00", "111.00"]


@probe("cursor-row-error")
async def cursor_row_error(caller):
    return (await row_gone(caller))[1] == "error"


@probe("cursor-row-restart")
async def cursor_row_restart(caller):
    pages, _ = await row_gone(caller)
    return pages[1][0] == pages[0][0]


@probe("cursor-row-skip")
async def cursor_row_skip(caller):
    pages, ended = await row_gone(caller)
    return ended == "end" and len(set(ids(pages))) == 11


@probe("tampered-first-page")
async def tampered_first_page(caller):
    return (await tampered(caller)).status == 200


@probe("tampered-crashes")
async def tampered_crashes(caller):
    return (await tampered(caller)).status == 500


@probe("cursor-carries-account")
async def cursor_carries_account(caller):
    return await foreign(caller)
