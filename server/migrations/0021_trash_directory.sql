-- What was thrown away from a directory goes with it: nobody could read its name any more.
CREATE INDEX trash_directory ON trash (bucket, directory);
