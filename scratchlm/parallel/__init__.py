"""Who computes what, and in which precision?"""
