-- gwrun.crypto: digests, HMAC, base64, random bytes, comparison and signatures.
--
-- Loaded by lualib/linit.c with the core (lcrypto.c).
local core = ...

local M = { equal = core.equal, randomBytes = core.random, verify = core.verify }

-- Bytes as hexadecimal digits.
function M.hex(data)
  return (data:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Digests of a string in hexadecimal digits, or as bytes with raw.
for _, name in ipairs { "md5", "sha1", "sha256", "sha384", "sha512" } do
  M[name] = function(data, raw)
    local bytes = core.digest(name, data)
    return raw and bytes or M.hex(bytes)
  end
end

-- crypto.hmac("sha256", key, data)
function M.hmac(digest, key, data, raw)
  local bytes = core.hmac(digest, key, data)
  return raw and bytes or M.hex(bytes)
end

function M.base64Encode(data) return core.base64(data, false) end

-- The data, or nil when text is not base64.
function M.base64Decode(text) return core.unbase64(text, false) end

-- The kind that fits into urls and JWTs: - and _, no padding.
function M.base64UrlEncode(data) return core.base64(data, true) end

function M.base64UrlDecode(text) return core.unbase64(text, true) end

-- A text of so many random bytes (32) that fits into urls: session tokens.
function M.randomToken(bytes) return core.base64(core.random(bytes or 32), true) end

return M
