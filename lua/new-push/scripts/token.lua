-- gwrun exec scripts/token.lua UID [TOPIC…]: a token for a visitor, for an hour. Your
-- site makes the same: a JWT (HS256) with the key in conf/token-key.
local jwt = require "gwrun.jwt"

local uid = arg[1] or error("say for whom: gwrun exec scripts/token.lua UID [TOPIC…]", 0)
local file = assert(io.open "conf/token-key")
local key = file:read "l"
file:close()
print(jwt.sign({
  aud = "push", sub = uid, exp = os.time() + 3600, topics = { table.unpack(arg, 2) },
}, key))
