"""What function do we learn?"""
