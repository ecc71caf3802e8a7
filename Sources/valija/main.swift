print("valija")
