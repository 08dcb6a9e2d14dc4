-- lua/meta/gwrun.lua describes what there is, all of it and nothing else.
local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function names_in(text, pattern)
  local names = {}
  for name in text:gmatch(pattern) do names[name] = true end
  return names
end

describe("lua/meta/gwrun.lua", function()
  local meta = read "lua/meta/gwrun.lua"

  it("is Lua", function() assert.is_function(load(meta)) end)

  it("has every function of Gateway", function()
    local commands = read("src/lualib/lgateway.c"):match "luaL_Reg functions%[%] = (%b{})"
    local there = names_in(commands, '{"(%w+)", ')
    for name in pairs(names_in(read "lua/gateway.lua", "Gateway%.(%w+) =")) do there[name] = true end
    for name in pairs(names_in(read "lua/gateway.lua", "function Gateway%.(%w+)")) do there[name] = true end
    assert.same(there, names_in(meta, "function Gateway%.(%w+)"))
  end)

  it("has every function of Timer and Log", function()
    local timers = read("src/lualib/ltimer.c"):match "luaL_Reg functions%[%] = (%b{})"
    local there = names_in(timers, '{"(%w+)", ')
    for name in pairs(names_in(read "lua/gwrun/cron.lua", "function Timer%.(%w+)")) do there[name] = true end
    assert.same(there, names_in(meta, "function Timer%.(%w+)"))
    local levels = read("src/lualib/llog.c"):match "levels%[%] = (%b{})"
    local log = names_in(levels, '{"(%w+)", ')
    log.with = true
    assert.same(log, names_in(meta, "function Log%.(%w+)"))
  end)

  it("has every function of Http, Redis and gwrun", function()
    local http = read "lua/gwrun/http.lua"
    local there = names_in(http, "function M%.(%w+)")
    for name in pairs(names_in(http, '(%w+) = "%u+"[ ,]')) do there[name] = true end
    for name in pairs(there) do assert(meta:find("function Http." .. name .. "(", 1, true), name) end
    assert.same(names_in(read "lua/gwrun/websocket.lua", "function M%.(%w+)"), names_in(meta, "function Websocket%.(%w+)"))
    assert.same(names_in(read "lua/gwrun/socket.lua", "function M%.(%w+)"), names_in(meta, "function Socket%.(%w+)"))
    local stream = meta:match "%-%-%-@class socket\n(.-)\n\n"
    for name in pairs(names_in(read "lua/gwrun/socket.lua", "function Stream:(%w+)")) do
      assert(stream:find("@field " .. name .. " fun", 1, true), name)
    end
    assert.same(names_in(read "lua/gwrun/redis.lua", "function M%.(%w+)"), names_in(meta, "function Redis%.(%w+)"))
    for name in pairs(names_in(read "lua/gwrun/async.lua", "function M%.(%w+)")) do
      assert(meta:find("function gwrun." .. name .. "(", 1, true), name)
    end
  end)

  it("has every method of Mysql", function()
    local source = read "lua/gwrun/mysql.lua"
    local methods = names_in(source, "\nfunction Db:(%w+)")
    methods.closeConnection = true
    assert.same(methods, names_in(meta, "\nfunction Db:(%w+)"))
    local building = meta:match "@class mysql_query\n(.*)"
    for name in pairs(names_in(source, "\nfunction Query:(%w+)")) do
      assert(building:find("@field " .. name .. " fun", 1, true), name)
    end
    for name in pairs(names_in(source, "function Mysql%.(%w+)")) do
      assert(meta:find("function Mysql." .. name .. "(", 1, true), name)
    end
  end)

  it("has every callback", function()
    local callbacks = read("src/worker/callbacks.c"):match "names%[%] = (%b{})"
    local events = meta:match "%-%-%-@class Events\n(.-)\n\n"
    assert.same(names_in(callbacks, '"(on%w+)"'), names_in(events, "@field (on%w+)"))
  end)

  it("describes every parameter of every function", function()
    for comment, name, params in meta:gmatch "\n\n(%-%-%-[^\n]+.-)\nfunction ([%w.]+)%(([^)]*)%)" do
      for param in params:gmatch "[%w_.]+" do
        assert(comment:find("@param " .. param, 1, true), name .. ": " .. param)
      end
    end
  end)

  it("has what specs can use in a file of its own", function()
    local there = names_in(read "lua/gwrun/testing.lua", "\nfunction App:([%w_]+)")
    local testing = read "lua/meta/testing.lua"
    assert.is_function(load(testing))
    assert.same(there, names_in(testing, "function App:([%w_]+)"))
    local page = read "docs/testing.md"
    for name in pairs(there) do assert(page:find("app:" .. name, 1, true), name) end
    there = names_in(read "lua/gwrun/testing_client.lua", "%-%-%- [^\n]+\nfunction Client:([%w_]+)")
    assert.same(there, names_in(testing, "function Client:([%w_]+)"))
  end)
end)
