-- "gwrun test" runs this: the script between simulated clients, without a network.
local jwt = require "gwrun.jwt"
local testing = require "gwrun.testing"

describe("the push service", function()
  local app, key

  before_each(function()
    local file = assert(io.open "conf/token-key")
    key = file:read "l"
    file:close()
    app = testing.start {
      script = "scripts/events.lua",
      gateways = { { listen = "websocket", api = true } },
    }
  end)

  after_each(function() app:stop() end)

  local function connect(claims, with)
    claims.exp = claims.exp or app:now() + 60
    return app:connect { path = "/?token=" .. jwt.sign(claims, with or key) }
  end

  it("lets in whom the site has given a token", function()
    local ann = connect { aud = "push", sub = "ann" }
    assert.same({ "hello ann" }, ann:received())
  end)

  it("lets in nobody else", function()
    assert.equal(401, app:connect {}.status)
    assert.equal(401, connect({ aud = "push", sub = "ann" }, ("x"):rep(32)).status)
    assert.equal(401, connect({ aud = "other", sub = "ann" }).status)
    assert.equal(401, connect({ aud = "push", sub = "ann", exp = app:now() - 3600 }).status)
  end)

  it("brings a push to all pages of a visitor, or to a topic", function()
    local ann, ann2 = connect { aud = "push", sub = "ann", topics = { "news" } },
      connect { aud = "push", sub = "ann" }
    local bob = connect { aud = "push", sub = "bob", topics = { "news" } }
    for _, client in ipairs { ann, ann2, bob } do client:received() end
    assert.equal(200, app:api("sendToUid", { uid = "ann", message = "sent" }).status)
    assert.equal(200, app:api("sendToGroup", { group = "news", message = "new" }).status)
    assert.same({ "sent", "new" }, ann:received())
    assert.same({ "sent" }, ann2:received())
    assert.same({ "new" }, bob:received())
  end)
end)
