-- Visitors listen, programs push. A visitor's page comes with a token that says who
-- he is: your site signs it with the key in conf/token-key (scripts/token.lua does,
-- too). Whoever pushes to a uid reaches all pages that he has open.
local jwt = require "gwrun.jwt"

Events = {}

local file = assert(io.open "conf/token-key")
local key = assert(file:read "l", "conf/token-key is empty")
file:close()

function Events.onHandshake(request)
  local claims = jwt.verify(request.get.token or "", key, { audience = "push" })
  if not claims then return 401, "a token of the site is missing or has expired" end
  -- "topics" are groups: one push to a topic reaches all who have it in their token.
  return { uid = claims.sub, groups = claims.topics }
end

function Events.onConnect(client_id)
  Gateway.sendToClient(client_id, "hello " .. Gateway.getUidByClientId(client_id))
end

function Events.onMessage() end -- visitors have nothing to say
