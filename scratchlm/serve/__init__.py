"""How do others reach it?"""
