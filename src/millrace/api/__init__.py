"""The REST API: readings in, latest, live, history, anomalies, alarms, rejects and counters out.

Start at `app.py` (what there is), `live.py` (where latest and live answers come from), `history.py`.
"""
