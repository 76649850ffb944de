"""One machine: embedded servers, the data folder, the supervisor that runs the platform on them.

DataFolder.open(settings)    lock and identity           folder.py
servers.running(settings)    the three servers alone     servers.py
Supervisor(settings).run()   the whole platform          supervisor.py
endpoints.need(home)         a running one's addresses   endpoints.py
"""
