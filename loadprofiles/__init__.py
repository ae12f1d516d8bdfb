"""Load: arrival schedules, the users that execute them, what is measured, and the rules that it is judged by.

`shapes.py` and the four files beside it say what is offered when; `plan.py` turns a shape into arrivals; `engine.py`
starts them under Locust's runner, in a process of its own (gevent); `driving.py` is the parent's side (asyncio).
"""
