"""How does it change?"""
