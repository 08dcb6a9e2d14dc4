-- gwrun.jwt: JSON Web Tokens (RFC 7519): verify those of others, sign one's own.
--
-- The key decides which algorithms are possible, never the token: a public key
-- in PEM format is for RS256 … ES384, any other string is a secret for HS256 …
--
-- Loaded by lualib/linit.c when a script requires it, with what gwrun's modules
-- share.
local common = ...
local crypto, json = common.crypto, common.json
local error = common.raise.error

local M = {}

local digests = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }
local public = { RS256 = true, RS384 = true, RS512 = true, ES256 = true, ES384 = true }
local secret_min = { HS256 = 32, HS384 = 48, HS512 = 64 } -- bytes, RFC 7518 section 3.2

local known = { algorithms = "table", issuer = "string", audience = "string", leeway = "number" }

local token_max = 16384 -- bytes

local function fail(code, text, ...) return nil, "jwt: " .. text:format(...), code end

local function check(key, options, level)
  if type(key) ~= "string" or key == "" then error("jwt: the key must be a string", level + 1) end
  for name, value in pairs(options) do
    if not known[name] then error(("jwt: unknown option '%s'"):format(name), level + 1) end
    if type(value) ~= known[name] then
      error(("jwt: option '%s' must be a %s"):format(name, known[name]), level + 1)
    end
  end
end

local function is_allowed(algorithm, key, options)
  local is_pem = key:find("-----BEGIN", 1, true) ~= nil
  if not (is_pem and public or digests)[algorithm] then return false end
  if not options.algorithms then return true end
  for _, name in ipairs(options.algorithms) do
    if name == algorithm then return true end
  end
  return false
end

local function decode_part(part)
  local text = crypto.base64UrlDecode(part)
  local value = text and json.decode(text)
  return type(value) == "table" and value or nil
end

local function has_audience(claim, wanted)
  if type(claim) ~= "table" then return claim == wanted end
  for _, name in ipairs(claim) do
    if name == wanted then return true end
  end
  return false
end

local function check_claims(claims, options)
  local now, leeway = os.time(), options.leeway or 0
  for _, name in ipairs { "exp", "nbf", "iat" } do
    if claims[name] ~= nil and type(claims[name]) ~= "number" then
      return fail("malformed", "%s is no number", name)
    end
  end
  if claims.exp and now >= claims.exp + leeway then
    return fail("expired", "the token has expired")
  end
  if claims.nbf and now < claims.nbf - leeway then
    return fail("early", "the token is not valid yet")
  end
  if options.issuer and claims.iss ~= options.issuer then
    return fail("issuer", "the token is from another issuer")
  end
  if options.audience and not has_audience(claims.aud, options.audience) then
    return fail("audience", "the token is for another audience")
  end
  return claims
end

-- The claims of a token whose signature and times are right, else nil, message,
-- code. options: algorithms (a list), issuer, audience, leeway in seconds.
function M.verify(token, key, options)
  options = options or {}
  check(key, options, 2)
  if type(token) ~= "string" or #token > token_max then return fail("malformed", "not a token") end
  local signed, head, body, sig = token:match "^(([%w_-]+)%.([%w_-]+))%.([%w_-]+)$"
  local header = head and decode_part(head)
  local signature = sig and crypto.base64UrlDecode(sig)
  if not header or not signature then return fail("malformed", "not a token") end
  local algorithm = header.alg
  if not is_allowed(algorithm, key, options) then
    return fail("algorithm", "algorithm %s is not allowed", tostring(algorithm))
  end
  if header.crit ~= nil then return fail("malformed", "the token wants extensions") end
  local ok, good
  if digests[algorithm] then
    ok, good = true, crypto.equal(crypto.hmac(digests[algorithm], key, signed, true), signature)
  else
    ok, good = pcall(crypto.verify, algorithm, key, signed, signature)
  end
  if not ok then return fail("algorithm", "%s", good:match "%((.*)%)" or good) end
  if not good then return fail("signature", "the signature is wrong") end
  local claims = decode_part(body)
  if not claims then return fail("malformed", "not a token") end
  return check_claims(claims, options)
end

-- A token with these claims, signed with a secret (HS256, HS384, HS512).
function M.sign(claims, secret, algorithm)
  algorithm = algorithm or "HS256"
  check(secret, {}, 2)
  if not digests[algorithm] then
    error("jwt: tokens are signed with HS256, HS384 or HS512 only", 2)
  end
  if #secret < secret_min[algorithm] then
    local text = "jwt: the secret must have at least %d bytes; crypto.randomToken() makes one"
    error(text:format(secret_min[algorithm]), 2)
  end
  local signed = crypto.base64UrlEncode(json.encode { alg = algorithm, typ = "JWT" })
    .. "." .. crypto.base64UrlEncode(json.encode(claims))
  local signature = crypto.hmac(digests[algorithm], secret, signed, true)
  return signed .. "." .. crypto.base64UrlEncode(signature)
end

return M
