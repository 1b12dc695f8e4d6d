"""Which text do we learn from?"""
