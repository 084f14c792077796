"""What the types have to notice: each line with an error says which."""

from dual_database import DualDatabase

db = DualDatabase(pg_url=5)  # E: arg-type
user = db.get_user("5")  # E: arg-type
print(user["username"])  # E: index
if user is not None:
    print(user["usrname"])  # E: typeddict-item
    number: int = user["first_name"]  # E: assignment
db.add_user("Анна")  # E: arg-type
db.get_all_users(limit="10")  # E: arg-type
db.add_user({"user_id": 5}).in_bth  # E: attr-defined
