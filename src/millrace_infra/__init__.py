"""The platform on AWS, as a CDKTF program: `app.py` reads like the flow, each noun is a file."""
