-- The chat's database and who may use it, from this machine only.
CREATE DATABASE chat;
CREATE USER chat@localhost IDENTIFIED BY 'secret'; -- another one, please
GRANT SELECT, INSERT ON chat.* TO chat@localhost;
USE chat;

CREATE TABLE people (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(24) NOT NULL UNIQUE, -- "Ann" and "ann" are one name
  password VARCHAR(200) NOT NULL    -- crypto.hashPassword()
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE messages (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  place VARCHAR(64) NOT NULL,       -- "room:tea", or "pair:3:7" for two people
  sender INT UNSIGNED NOT NULL,
  recipient INT UNSIGNED,           -- NULL in rooms
  text TEXT NOT NULL,
  time BIGINT NOT NULL,             -- seconds since 1970
  KEY (place, id),
  KEY (recipient),
  KEY (sender, recipient)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE secrets (
  name VARCHAR(16) NOT NULL PRIMARY KEY,
  value VARCHAR(64) NOT NULL
) DEFAULT CHARACTER SET ascii;
