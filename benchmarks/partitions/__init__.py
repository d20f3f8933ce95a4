"""Ways to group an archive by questions, each behind one interface; `rivals.py` judges them."""
