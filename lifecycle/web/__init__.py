"""The portal's pages: parse, authorise, call one service function, render what the database knows."""
