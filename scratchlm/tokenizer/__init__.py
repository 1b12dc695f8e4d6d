"""How does text become numbers, and a conversation a row of them?"""
