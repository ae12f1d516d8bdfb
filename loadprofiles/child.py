"""A worker's process: gevent replaces what blocks before anything else is imported."""

from gevent import monkey

monkey.patch_all()

if __name__ == "__main__":
    from openbell.loadprofiles.worker import main
    main()
