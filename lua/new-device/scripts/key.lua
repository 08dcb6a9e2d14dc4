-- gwrun exec scripts/key.lua DEVICE: the key that this device proves itself with.
local crypto = require "gwrun.crypto"

local name = arg[1] or error("say which: gwrun exec scripts/key.lua DEVICE", 0)
local file = assert(io.open "conf/device-key")
print(crypto.hmac("sha256", file:read "l", name))
file:close()
