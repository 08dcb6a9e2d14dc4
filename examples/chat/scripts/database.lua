-- The database, from the environment, so that no password lies in the code.
return Mysql.connect {
  socket = os.getenv "CHAT_DB_SOCKET", -- instead of host and port
  host = os.getenv "CHAT_DB_HOST",
  port = tonumber(os.getenv "CHAT_DB_PORT"),
  user = os.getenv "CHAT_DB_USER" or "chat",
  password = os.getenv "CHAT_DB_PASSWORD",
  database = os.getenv "CHAT_DB_NAME" or "chat",
}
