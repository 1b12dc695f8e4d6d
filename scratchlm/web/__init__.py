"""What may be taken from the web, and how politely?"""
