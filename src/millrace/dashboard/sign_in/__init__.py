"""How people come in to the page: with the token on one machine, by name with an identity provider.

Gate                         in front of everything that the page serves      gate.py
OwnOrigin                    which page a request comes from                  origin.py
TokenSignIn, OidcSignIn      the two ways in                                  token.py, oidc.py
Sessions                     the cookie of somebody who is in                 session.py
IdentityProvider             what is asked of it, and what is believed        identity_provider.py
"""
