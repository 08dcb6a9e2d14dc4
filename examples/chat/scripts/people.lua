-- Accounts: who may chat. Each function waits for the database and returns a
-- person { id =, name = }, or nil and a word that the page explains.
local crypto = require "gwrun.crypto"
local jwt = require "gwrun.jwt"
local db = require "database"

local M = {}

local NAME_MAX = 24 -- letters, as in schema.sql
local PASSWORD_MIN, PASSWORD_MAX = 8, 1024 -- bytes; hashPassword() takes no more
local TOKEN_SECONDS = 7 * 24 * 3600

local function is_name(name)
  local length = type(name) == "string" and utf8.len(name)
  return length and length >= 1 and length <= NAME_MAX and not name:find "[%c%s@]"
end

local function is_password(password)
  return type(password) == "string" and #password >= PASSWORD_MIN and #password <= PASSWORD_MAX
end

-- The first row, or nil. A database that does not answer is an error.
local function find_row(sql, value)
  local row, message = db:row(sql, { value })
  if not row and message then error(message) end
  return row
end

function M.register(name, password)
  if not is_name(name) then return nil, "bad_name" end
  if not is_password(password) then return nil, "bad_password" end
  local hash = assert(crypto.hashPassword(password))
  local id, message, code = db:insert("people"):cols { name = name, password = hash }:query()
  if code == "duplicate" then return nil, "name_taken" end
  return { id = assert(id, message), name = name }
end

function M.login(name, password)
  if not is_name(name) or not is_password(password) then return nil, "wrong" end
  local row = find_row("SELECT id, name, password FROM people WHERE name = ?", name)
  if not row then return nil, "wrong" end
  local same, message = crypto.verifyPassword(password, row.password)
  if message then error(message) end -- too many at once
  if not same then return nil, "wrong" end
  return { id = row.id, name = row.name }
end

function M.find(name)
  local row = is_name(name) and find_row("SELECT id, name FROM people WHERE name = ?", name)
  if not row then return nil, "nobody" end
  return row
end

-- What signs the tokens: made once, by the first worker that needs it, and kept
-- in the database so that all workers on all machines have the same.
local secret
local function token_secret()
  if not secret then
    local new = crypto.randomToken()
    assert(db:query("INSERT IGNORE INTO secrets (name, value) VALUES ('token', ?)", { new }))
    secret = assert(db:single "SELECT value FROM secrets WHERE name = 'token'")
  end
  return secret
end

-- With a token the page logs in again after a reconnect, without the password.
function M.token(person)
  local claims = { sub = tostring(person.id), exp = os.time() + TOKEN_SECONDS }
  return jwt.sign(claims, token_secret())
end

function M.resume(token)
  local claims = jwt.verify(token, token_secret())
  if not claims then return nil, "expired" end
  local row = find_row("SELECT id, name FROM people WHERE id = ?", claims.sub)
  if not row then return nil, "expired" end
  return row
end

return M
