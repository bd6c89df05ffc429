# A package of the course; its modules come from the lessons.
