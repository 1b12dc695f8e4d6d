"""What do we ask of it?"""
