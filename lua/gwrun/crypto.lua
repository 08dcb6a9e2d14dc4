-- gwrun.crypto: digests, HMAC, base64, random bytes, comparison, signatures and
-- passwords.
--
-- Loaded by lualib/linit.c with the core (lcrypto.c).
local core = ...
local raise = require "gwrun.raise"
local check, call = raise.check, raise.call

local M = { equal = core.equal, randomBytes = core.random, verify = core.verify }

-- Bytes as hexadecimal digits.
function M.hex(data)
  check(data, "string", 1, "hex")
  return (tostring(data):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Digests of a string in hexadecimal digits, or as bytes with raw.
for _, name in ipairs { "md5", "sha1", "sha256", "sha384", "sha512" } do
  M[name] = function(data, raw)
    local bytes = call(name, 1, core.digest, name, data)
    return raw and bytes or M.hex(bytes)
  end
end

-- crypto.hmac("sha256", key, data)
function M.hmac(digest, key, data, raw)
  local bytes = call("hmac", 0, core.hmac, digest, key, data)
  return raw and bytes or M.hex(bytes)
end

function M.base64Encode(data) return call("base64Encode", 0, core.base64, data, false) end

-- The data, or nil when text is not base64.
function M.base64Decode(text)
  return call("base64Decode", 0, core.unbase64, text, false)
end

-- The kind that fits into urls and JWTs: - and _, no padding.
function M.base64UrlEncode(data)
  return call("base64UrlEncode", 0, core.base64, data, true)
end

function M.base64UrlDecode(text)
  return call("base64UrlDecode", 0, core.unbase64, text, true)
end

-- A text of so many random bytes (32) that fits into urls: session tokens.
function M.randomToken(bytes)
  return core.base64(call("randomToken", 0, core.random, bytes or 32), true)
end

-- Passwords, by scrypt: at this cost a guess takes 16 MiB and tens of
-- milliseconds, which a log-in can afford and a thief of the hashes cannot.
local cost = { ln = 14, r = 8, p = 5 }
local salt_len = 16

-- base64 without padding, as such hashes have it.
local function encode(data) return (core.base64(data, false):gsub("=+$", "")) end

local function decode(text) return core.unbase64(text .. ("="):rep(-#text % 4), false) end

-- What to store of a password: "$scrypt$ln=14,r=8,p=5$salt$key". Waits.
function M.hashPassword(password)
  check(password, "string", 1, "hashPassword")
  local ln, r, p = cost.ln, cost.r, cost.p
  local salt = core.random(salt_len)
  local key, message, code = core.scrypt(password, salt, 1 << ln, r, p)
  if not key then return nil, message, code end
  return ("$scrypt$ln=%d,r=%d,p=%d$%s$%s"):format(ln, r, p, encode(salt), encode(key))
end

local hash_pattern = "^%$scrypt%$ln=(%d%d?),r=(%d%d?),p=(%d%d?)%$([%w+/]+)%$([%w+/]+)$"

-- Whether it is the password of that hash. Waits.
function M.verifyPassword(password, hash)
  check(password, "string", 1, "verifyPassword")
  check(hash, "string", 2, "verifyPassword")
  local ln, r, p, salt, key = tostring(hash):match(hash_pattern)
  salt, key = salt and decode(salt), key and decode(key)
  if not salt or not key then return nil, "crypto: not a hash of hashPassword()", "malformed" end
  ln, r, p = tonumber(ln), tonumber(r), tonumber(p)
  local derived, message, code = core.scrypt(password, salt, 1 << ln, r, p)
  if not derived then return nil, message, code end
  return core.equal(derived, key)
end

return M
