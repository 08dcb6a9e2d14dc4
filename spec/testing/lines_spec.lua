-- Wrong arguments: the error names the line of the script that gave them.
local testing = require "gwrun.testing"

-- Arguments that are wrong, by function. Those that take anything are not here.
local calls = [[
  local f, t = function() end, {}
  local redis = Redis.connect()
  local db = Mysql.connect { user = "u", database = "d" }
  local function query() return db:select "a" end
  calls = {
    { "Timer", Timer, { add = { "x", f }, once = { 1, "x" }, delay = { 1 }, del = { f }, sleep = { f },
      cron = { "x", f } } },
    { "Timer.cron's function", Timer, { cron = { "@daily", 1 } } },
    { "Timer.cron's arguments", Timer, { cron = { "@daily", f, 1 } } },
    { "gwrun", gwrun, { spawn = { 1 }, deadline = { 0, f }, whileConnected = { 1 }, parallel = { 1 },
      settle = { f, 1 }, limit = { t } } },
    { "gwrun.crypto", gwrun.crypto, { md5 = { t }, sha1 = { t }, sha256 = { t }, sha384 = { t }, sha512 = { t },
      hmac = { "x", "k", "d" }, hex = { t }, base64Encode = { t }, base64Decode = { t }, base64UrlEncode = { t },
      base64UrlDecode = { t }, randomToken = { t }, randomBytes = { t }, hashPassword = { t },
      verifyPassword = { "p", t }, equal = { t, t }, verify = { 1 } } },
    { "gwrun.jwt", gwrun.jwt, { sign = { t, 1 }, verify = { "x", 1 } } },
    { "gwrun.json", gwrun.json, { encode = { f }, decode = { t } } },
    { "gwrun.shared", gwrun.shared, { get = { t }, set = { t, 1 }, incr = { t } } },
    { "Http", Http, { get = { t }, head = { t }, delete = { t }, post = { t }, put = { t }, patch = { t },
      request = { 1 }, encode = { 1 } } },
    { "Http's options", Http, { get = { "http://x/", 1 }, post = { "http://x/", "", 1 },
      request = { { url = "http://x/", colour = 1 } } } },
    { "Redis", Redis, { connect = { 1 } } },
    { "Redis' options", Redis, { connect = { { port = 0 } } } },
    { "a Redis client", redis, { call = { redis, t }, pipeline = { redis, 1 },
      multi = { redis, 1 }, transaction = { redis, "k", 1 }, subscribe = { redis, "c", 1 }, script = { redis, t },
      psubscribe = { redis, t, f }, multi = { redis, t }, select = { redis, 1 } } },
    { "Mysql", Mysql, { connect = { 1 } } },
    { "Mysql's options", Mysql, { connect = { { colour = 1 } } } },
    { "a database", db, { query = { db, 1 }, row = { db, t }, column = { db, "SELECT ?", 1 },
      single = { db, "SELECT ?", { f } }, commitTrans = { db }, rollBackTrans = { db }, transaction = { db, 1 },
      select = { db, 1 }, insert = { db, 1 }, replace = { db, 1 }, update = { db, 1 }, delete = { db, 1 } } },
    { "a query", query(), { from = { query(), f }, fromRaw = { query(), f }, join = { query(), f, "t" },
      innerJoin = { query(), f }, leftJoin = { query(), f }, rightJoin = { query(), f }, where = { query(), f },
      orWhere = { query(), f }, having = { query(), f }, orHaving = { query(), t }, groupBy = { query(), f },
      orderBy = { query(), f }, orderByASC = { query(), f }, orderByDESC = { query(), f }, limit = { query(), f },
      offset = { query(), -1 }, page = { query(), 1.5 }, setPaging = { query(), f }, cols = { query(), f },
      set = { query(), f, "1" }, bindValues = { query(), 1 }, timeout = { query(), f }, select = { query(), f },
      union = { query(), f }, unionAll = { query(), f } } },
    { "a query's values", query(), { where = { query(), "a = ?", 1, 2 } } },
    { "an update", db, { query = { db, db:update "t" } } },
  }
  local gateway = {}
  for name in pairs(Gateway) do gateway[name] = { f, f, f, f } end
  gateway.destroyCurrentClient, gateway.destoryCurrentClient = nil, nil -- they take none
  calls[#calls + 1] = { "Gateway", Gateway, gateway }
]]

-- Each is called from line 3 of "script", directly and by a tail call.
local runner = [[
  Events = {}
  local direct = assert(load("local f = ...\n\nlocal r = f(select(2, ...))\nreturn r", "=script"))
  local tail = assert(load("local f = ...\nlocal function go(...) return f(...) end\nlocal r = go(select(2, ...)) return r",
    "=script"))
  local function wrong(call, where, name, f, args)
    local ok, message = pcall(call, f, table.unpack(args, 1, 4))
    message = tostring(message)
    if ok then return print(where, name, "did not raise") end
    if not message:find("^script:[23]: ") or message:find("'?'", 1, true) then print(where, name, message) end
  end
  function Events.onMessage()
    for _, c in ipairs(calls) do
      for name, args in pairs(c[3]) do
        if type(c[2][name]) == "function" then
          wrong(direct, c[1], name, c[2][name], args)
          wrong(tail, c[1], name, c[2][name], args)
        elseif name ~= "limit" then
          print(c[1], name, "does not exist")
        end
      end
    end
  end
]]

describe("a wrong argument", function()
  it("is blamed on the script's line, whatever it is given to", function()
    local app = testing.start { text = calls .. runner }
    app:connect():send "x"
    local complaints = app:log()
    app:stop()
    assert.equal("", table.concat(complaints, "\n"))
  end)
end)
