-- The examples of docs/mysql.md, run one after the other.
local mariadb = require "mariadb"
local tcp = require "tcp"
local testbed = require "testbed"

describe("docs/mysql.md", function()
  local server, app

  setup(function() server = mariadb.start() end)

  teardown(function()
    if app then app:stop() end
    server:stop()
  end)

  it("has examples that run", function()
    local blocks = {}
    for block in testbed.read_file("docs/mysql.md"):gmatch "\n```lua\n(.-)\n```" do
      blocks[#blocks + 1] = #blocks == 0 and block or "do\n" .. block .. "\nend"
    end
    assert.is_true(#blocks >= 6)
    app = testbed.start {
      gateways = { { listen = "text" } },
      script = ([[
        local real = Mysql
        local function connect() return real.connect { socket = %q, user = "root", database = "test" } end
        local examples = load(%q, "=docs", "t", setmetatable({
          Mysql = { connect = connect, Connection = connect, null = real.null } }, { __index = _G }))
        Events = {}
        function Events.onMessage()
          local ok, message = pcall(examples)
          Gateway.sendToCurrentClient(ok and "all well" or message)
        end
      ]]):format(server.socket, table.concat(blocks, "\n")),
    }
    local client = tcp.connect(app.port[1])
    client:send "go\n"
    assert.equal("all well\n", client:receive "\n")
    client:close()
  end)
end)
