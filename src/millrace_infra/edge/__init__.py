"""The public way in for integrations: API Gateway with its firewall, in front of the private entry.

`gateway.py` is the construct. What makes its definition (`definition.py` and what that imports) needs no CDK.
"""
