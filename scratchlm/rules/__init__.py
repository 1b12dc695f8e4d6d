"""What is known of a text before it is judged?"""
