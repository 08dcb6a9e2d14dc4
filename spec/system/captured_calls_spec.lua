-- What PHP's GatewayClient was seen to call, with its results and what three clients got of it: the
-- same by Gateway's functions, with the clients in one cell and in three.
local cjson = require "cjson"
local loop = require "loop"
local population = require "population"
local redisserver = require "redisserver"
local testbed = require "testbed"

-- What the captured system's worker did; and results as PHP has them, where true is 1 and integers
-- may be keys: all as text.
local script = [=[
local json = require "gwrun.json"

function Events.onWebSocketConnect(id, data)
  if next(data.get) then _SESSION.get = data.get end
end

function Events.onClose(id) Gateway.sendToAll("bye:" .. id) end

local function loose(value)
  if value == json.null then return nil end
  if type(value) == "boolean" then return value and "1" or "0" end
  if type(value) == "number" then return ("%.14g"):format(value) end
  if type(value) ~= "table" then return value end
  local result = {}
  for k, v in pairs(value) do result[#value > 0 and k or tostring(k)] = loose(v) end
  return result
end

function LOOSE(value) return DUMP(loose(value)) end
function CAPTURED(text) return LOOSE(json.decode(text).result) end
]=]

-- Those that are not written as they are called.
local written = {
  batchGetClientIdByUid = "batchGetClientIdByUid({ 'alice', 1001, 'nobody' })",
  batchGetClientIdCountByGroup = "batchGetClientIdCountByGroup({ 'room1', 7, 'none' })",
  ["setSession(a,{name,n,f,t,nil,list})"] =
    "setSession(a, { name = '张三', n = 5, f = 1.5, t = true, list = { 1, 2, 3 }, deep = { x = { y = 'z' } } })",
  ["updateSession(a,{n,deep,list})"] = "updateSession(a, { n = 6, deep = { x = { w = 1 } }, list = { 9 } })",
  ["sendToAll(raw)"] = [[sendToAll('\x81\x03raw', nil, nil, true)]],
}

local function lua_of(call)
  local text = written[call] or call:gsub(" after .*", ""):gsub(" at end$", "")
  if not text:find("(", 1, true) then text = text .. "()" end
  if not written[call] then text = text:gsub("%[", "{"):gsub("%]", "}"):gsub("null", "nil") end
  return "Gateway." .. text
end

-- Messages and ends in a websocket's bytes.
local function read_frames(bytes)
  local list, at = {}, 1
  while at + 1 <= #bytes do
    local kind, len = bytes:byte(at, at + 1)
    assert(len < 126)
    local body = bytes:sub(at + 2, at + 1 + len)
    list[#list + 1] = kind == 0x81 and body or kind == 0x88 and "closed " .. (">I2"):unpack(body) or ("frame %x"):format(kind)
    at = at + 2 + len
  end
  return list
end

-- What client i is to receive: the capture, but for the differences on purpose.
local function wanted(received, i)
  local list, names = {}, { ["1"] = "a", ["2"] = "b", ["3"] = "c" }
  for _, r in ipairs(received) do
    if r.i == i - 1 and r.m then
      local message = r.m:gsub("^bye:%x+(%x)$", function(digit) return "bye:" .. names[digit] end)
      -- "g2" went to two groups; who is in both gets it once here, twice there
      if message ~= list[#list] then list[#list + 1] = message end
    elseif r.i == i - 1 and list[#list] == "bye" then
      list[#list + 1] = "closed 1000" -- closeClient says goodbye with a Close frame; destroyClient just cuts
    end
  end
  return list
end

describe("the captured calls", function()
  local vectors = cjson.decode(testbed.read_file "spec/vectors/gatewayworker-conversations.json")

  local function got(world, name)
    local list = read_frames(world.clients[name].data)
    for i, message in ipairs(list) do
      list[i] = message:gsub("^bye:(%x+)$", function(id)
        for who, his in pairs(world.ids) do if his == id then return "bye:" .. who end end
      end)
    end
    return list
  end

  for where, at in pairs { ["one cell"] = { 1, 1 }, ["three cells, asked in the first"] = { 3, 1 },
    ["three cells, asked in the second"] = { 3, 2 }, ["three cells, asked in the third"] = { 3, 3 } } do
    it("have their results and messages in " .. where, function()
      local cells, asked = at[1], at[2]
      local redis = redisserver.start()
      local world = population.start(redis, cells, { script = script, workers = 1 })
      finally(function()
        world:stop()
        redis:stop()
      end)
      local names = { "a", "b", "c" }
      for i, name in ipairs(names) do
        world:newcomer(name, "websocket", i, "/?n=" .. i - 1)
      end
      -- the captured ids are clients' names, too; "gone" was nobody's
      local aliases = {}
      for i, name in ipairs(names) do aliases[i] = ("WHO['7f0000010b54%08x'] = '<%s>' "):format(i, name) end
      local prologue = table.concat(aliases)
        .. "local a, b, c, gone = who.a, who.b, who.c, who.c:sub(1, 12) .. '7fffffff' "
      for _, cell in ipairs { 1, 2, 3 } do
        loop.poll("all to be seen", function() return world:request(cell, "return Gateway.getAllClientIdCount()") == "true, 3" end, 60)
      end
      local function ask(lua) return world:request(asked, prologue .. lua) end
      for _, call in ipairs(vectors.client_calls) do
        local lua = lua_of(call.call)
        local expected = ask(("return CAPTURED(%q)"):format(cjson.encode(call)))
        local result = ask(("local ok, why = %s if ok == nil and why then error(why) end return LOOSE(ok)"):format(lua))
        assert.matches("^true, ", expected)
        if call.result == cjson.null and result == 'true, "\\"1\\""' then result = expected end -- void in PHP
        assert.equal(expected, result, lua)
        if lua:find "[bn]" then world:settle() end
        if call.call:find "^closeClient" then
          loop.wait("the goodbye", function() return table.concat(got(world, "c")):find("bye:b", 1, true) end, 60)
        end
      end
      assert.equal(62, #vectors.client_calls)
      for i, name in ipairs(names) do
        local want = wanted(vectors.clients_received, i)
        loop.wait("all messages of " .. name, function() return #got(world, name) >= #want end, 60)
        assert.same(want, got(world, name))
      end
    end)
  end
end)
