"""In what order are tokens seen?"""
