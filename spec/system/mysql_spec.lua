-- Mysql in a whole system, against a MariaDB of the spec's own.
local cjson = require "cjson"
local loop = require "loop"
local mariadb = require "mariadb"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

-- Each message is Lua text to run; the answer shows what it returned.
local script = [[
local cjson = require "cjson"

local function show(v)
  if v == Mysql.null then return "NULL" end
  if type(v) == "string" then return v:find "^[\32-\126]*$" and v or v:gsub(".", function(c)
    return ("%02x"):format(c:byte()) end) end
  if type(v) ~= "table" then return tostring(v) end
  local keys = {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do keys[i] = (k == i and "" or k .. "=") .. show(v[k]) end
  return "{" .. table.concat(keys, ",") .. "}"
end

db = require "gwrun.mysql".connect { socket = "SOCKET", user = "root", database = "test", pool_size = 4 }
small = Mysql.connect { socket = "SOCKET", user = "root", database = "test", pool_size = 1 }
count, path_of_server = 0, "SOCKET"

Events = {}
function Events.onMessage(client_id, text)
  local chunk = assert(load(cjson.decode(text), "=test"))
  local results = table.pack(pcall(chunk))
  for i = 2, results.n do results[i] = show(results[i]) end
  results[1] = results[1] and "" or "raised: "
  Gateway.sendToCurrentClient(results[1] .. table.concat(results, " ", 2))
end
]]

describe("Mysql", function()
  local server, app, clients

  setup(function()
    server = mariadb.start()
    app = testbed.start {
      gateways = { { listen = "text" } },
      script = script:gsub("SOCKET", server.socket),
    }
    clients = {}
  end)

  teardown(function()
    for _, c in ipairs(clients) do c:close() end
    if app then app:stop() end
    if server then server:stop() end
  end)

  local function client()
    local c = tcp.connect(app.port[1])
    clients[#clients + 1] = c
    return c
  end

  local function send(c, code) c:send(cjson.encode(code) .. "\n") end

  local function receive(c, seconds)
    local ok, line = pcall(c.receive, c, "\n", seconds)
    if not ok then error(line .. "\n" .. app:log():sub(-2000), 2) end
    return line:sub(1, -2)
  end

  local function run(c, code)
    send(c, code)
    return receive(c)
  end

  describe("gives values", function()
    local c
    setup(function()
      c = client()
      assert.equal("0", run(c, [==[return db:query [[CREATE TABLE types (i BIGINT, u BIGINT UNSIGNED, t TINYINT,
        d DECIMAL(30,10), f FLOAT, g DOUBLE, s VARCHAR(200) CHARACTER SET utf8mb4, b BLOB, w DATETIME(3), y YEAR,
        z BIT(12), j TIME, l LONGTEXT)]]]==]))
      run(c, [[return db:query("INSERT INTO types VALUES (:i, :u, :t, :d, :f, :g, :s, :b, :w, :y, b'101', :j, :l)", {
        i = math.mininteger, u = "18446744073709551615", t = -5, d = "12345678901234567890.0123456789", f = 0.1,
        g = 0.1, s = "h\u{e9}\u{1F600}", b = "a\0b\255'", w = "2026-02-03 04:05:06.789", y = 2026, j = "-12:00:01",
        l = ("x"):rep(100000) })]])
    end)

    local expected = "i=-9223372036854775808,j=-12:00:01,s=68c3a9f09f9880,t=-5,u=18446744073709551615,"
      .. "w=2026-02-03 04:05:06.789,y=2026,z=5}"
    for name, params in pairs { ["of a plain query"] = "", ["of a statement with parameters"] = ", {}" } do
      it(name .. " as Lua has them", function()
        local out = run(c, [[local r = db:row("SELECT * FROM types"]] .. params .. [[)
          local l = #r.l; r.l = nil; return r, l, math.type(r.i), type(r.u), type(r.d)]])
        assert.matches("{b=610062ff27,d=12345678901234567890.0123456789,f=0.1,g=0.1," .. expected
          .. " 100000 integer string string", out, 1, true)
      end)

      it(name .. " with NULL as Mysql.null, which is cjson's", function()
        assert.equal("{a=NULL,b=1} true NULL {NULL,2}", run(c, [[local r = db:row("SELECT NULL AS a, 1 AS b"]]
          .. params .. [[) return r, r.a == require 'cjson'.null, db:single("SELECT NULL"), db:column("SELECT NULL UNION SELECT 2")]]))
      end)
    end

    it("of parameters that are floats without a fraction, as integers", function()
      assert.equal("1700000000123456 1001 0.5", run(c, [[
        return db:single("SELECT CONCAT(?)", { 1700000000123456.0 }), db:single("SELECT CONCAT(?)", { 1001.0 }),
          db:single("SELECT CONCAT(?)", { 0.5 })]]))
    end)

    it("at the edges of 64 bits", function()
      assert.equal("9223372036854775807 9223372036854775808 integer string -1", run(c, [[
        local a, b = 9223372036854775807, "9223372036854775808"
        local r = db:row("SELECT CAST(? AS SIGNED) a, CAST(? AS UNSIGNED) b, -1 c", { a, b })
        return r.a, r.b, math.type(r.a), type(r.b), r.c]]))
    end)

    it("of no rows", function()
      assert.equal("{} nil nil {}", run(c, [[local none = "SELECT 1 FROM types WHERE FALSE"
        local single = table.pack(db:single(none))
        return db:query(none), db:row(none), single[1], db:column(none)]]))
    end)

    it("in lists", function()
      assert.equal("{2,3} {}", run(c, [[local t = "SELECT x FROM (SELECT 1 x UNION SELECT 2 UNION SELECT 3) t WHERE x "
        return db:column(t .. "IN (:l)", { l = { 2, 3, 9 } }), db:column(t .. "IN (?)", { {} })]]))
    end)

    it("not in an empty list: every row, NULL too", function()
      assert.equal("{1,2,NULL} {} {1} {1,2,NULL} 1", run(c, [[
        local t = "SELECT x FROM (SELECT 1 x UNION SELECT 2 UNION SELECT NULL) t WHERE "
        return db:column(t .. "x NOT IN (:l)", { l = {} }), db:column(t .. "x IN ( ? )", { {} }),
          db:column(t .. "(x,1) in ((:a,1)) and x not in(:l)", { a = 1, l = {} }),
          db:column(t .. "x IN (:l) IS NOT TRUE", { l = {} }), db:single("SELECT 1 FROM DUAL WHERE NULL NOT IN (?)", { {} })]]))
    end)

    it("of a procedure, all its results", function()
      run(c, [[return db:query("CREATE PROCEDURE two() BEGIN SELECT 1 a; "
        .. "SELECT 2 b, 'x' c UNION SELECT 3, 'y'; SELECT 4 d WHERE FALSE; END")]])
      for _, params in ipairs { "", ", {}" } do
        assert.equal("{{a=1}} {{b=2,c=x},{b=3,c=y}} {} 7", run(c, ([[
          local one, two, three, none = db:query("CALL two()"%s)
          assert(none == nil)
          return one, two, three, db:single("SELECT 7")]]):format(params)))
        for _, method in ipairs { "row", "column", "single" } do
          assert.equal("nil the statement gave 3 results; db:query() returns them all results CALL two() 7", run(c, ([[
            local none, message, code, info = db:%s("CALL two()"%s)
            return none, message, code, info.sql, db:single("SELECT 7")]]):format(method, params)))
        end
      end
    end)

    it("of a procedure with one result by every method", function()
      run(c, [[return db:query("CREATE PROCEDURE one(IN n INT) BEGIN SELECT n AS a; END")]])
      assert.equal("{{a=3}} {a=3} {3} 3", run(c, [[return db:query("CALL one(?)", { 3 }), db:row("CALL one(?)", { 3 }),
        db:column("CALL one(?)", { 3 }), db:single("CALL one(3)")]]))
    end)

    it("of a procedure, within one limit for all of them", function()
      run(c, [[return db:query("CREATE PROCEDURE large() BEGIN SELECT REPEAT('x', 600) a; SELECT REPEAT('y', 600) b; END")]])
      run(c, [[return db:query("CREATE PROCEDURE many(IN n INT) BEGIN WHILE n > 0 DO SELECT n; SET n = n - 1; END WHILE; END")]])
      assert.equal("emsgsize 1 1000 emsgsize 7", run(c, [[
        local tight = Mysql.connect { socket = path_of_server, user = "root", database = "test", max_result = 1000 }
        return select(3, tight:query "CALL large()"), tight:single "SELECT 1", select("#", db:query "CALL many(1000)"),
          (select(3, db:query "CALL many(1001)")), db:single "SELECT 7"]]))
    end)

    it("after the table has changed", function()
      run(c, [[db:query("CREATE TABLE grows (a INT)") db:query("INSERT INTO grows VALUES (1)")]])
      assert.equal("{a=1} {a=1,b=two}", run(c, [[local q = "SELECT * FROM grows WHERE a = ?"
        local before = small:row(q, { 1 })
        small:query "ALTER TABLE grows ADD b VARCHAR(9) DEFAULT 'two'"
        return before, small:row(q, { 1 })]]))
    end)

    it("through more statements than a connection keeps", function()
      assert.equal("19900", run(c, [[local sum = 0
        for i = 0, 199 do sum = sum + small:single("SELECT ? + " .. i, { 0 }) end
        return sum]]))
    end)
  end)

  describe("runs what the builder made:", function()
    local c
    setup(function()
      c = client()
      run(c, [[db:query "CREATE TABLE people (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), age INT, UNIQUE (name))"]])
    end)

    it("inserts, selects, updates and deletes", function()
      assert.equal("1 1", run(c, [[local id = db:insert("people"):cols { name = "ann", age = 30 }:query()
        return id, db:lastInsertId()]]))
      assert.equal("0 nil", run(c, "return db:lastInsertId(), db:lastSQL()")) -- that was another handler
      assert.equal("2 1", run(c, [[return db:query("INSERT INTO people (name, age) VALUES (:n, :a)", { n = "bob", a = 40 })]]))
      assert.equal("{age=30,name=ann}", run(c, [[return db:select("name, age"):from("people"):where("id = :id")
        :bindValues { id = 1 }:row()]]))
      assert.equal("2", run(c, [[return db:update("people"):set("age", "age + ?", 1):where("age >= ?", 30):query()]]))
      assert.equal("{31,41}", run(c, [[return db:select("age"):from("people"):orderByASC { "id" }:column()]]))
      assert.equal("1 ann", run(c, [[return db:delete("people"):where { name = "bob" }:query(),
        db:select("name"):from("people"):single()]]))
    end)

    it("leaves no connection to others that the server ends", function()
      -- 1153 is "packet too large": the server hangs up behind it
      assert.equal("0 0", run(c, [[
        local bad, refused = 0, 0
        for _ = 1, 5 do
          if small:query("SELECT LENGTH(?)", { ("x"):rep(17 * 1024 * 1024) }) then refused = refused + 1 end
          if not small:single "SELECT 1" then bad = bad + 1 end
        end
        return bad, refused]]))
      assert.equal("1053 08S01 1", run(c, [[
        local _, _, _, info = small:query "SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1053, MESSAGE_TEXT = 'going'"
        return info.errno, info.sqlstate, small:single "SELECT 1"]]))
    end)

    it("leaves a server that takes no writes any more", function()
      assert.equal("1290 true 1", run(c, [[
        local before = small:single "SELECT CONNECTION_ID()"
        local _, _, _, info = small:query "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'"
        return info.errno, small:single "SELECT CONNECTION_ID()" ~= before, small:single "SELECT 1"]]))
    end)

    it("tells what the server refused", function()
      assert.equal("nil Duplicate entry 'ann' for key 'name' duplicate "
        .. "{errno=1062,sql=INSERT INTO `people` (`name`) VALUES (?),sqlstate=23000}",
        run(c, [[return db:insert("people"):cols { name = "ann" }:query()]]))
      assert.matches("^nil You have an error in your SQL syntax.* sql {errno=1064,sql=SELEC 1,sqlstate=42000}$",
        run(c, [[return db:query "SELEC 1"]]))
      assert.matches("^nil .*doesn't exist sql {errno=1146,.*sqlstate=42S02}$",
        run(c, [[return db:query("SELECT * FROM missing WHERE id = ?", { 1 })]]))
    end)
  end)

  describe("under gwrun.deadline", function()
    local c
    setup(function() c = client() end)

    it("gives nobody the result of a query that was cut short", function()
      assert.equal("100 0 {waiting=0}", run(c, [[
        local function slow(i) return function()
          local sql = i % 2 == 0 and "SELECT SLEEP(20), ? x" or "SELECT SLEEP(20), " .. i .. " x"
          return (select(3, gwrun.deadline(0.02, db.query, db, sql, i % 2 == 0 and { i } or nil)))
        end end
        local list = {}
        for i = 1, 100 do list[i] = slow(i) end
        local cut, wrong = 0, 0
        for _, code in ipairs { gwrun.parallel(table.unpack(list)) } do cut = cut + (code == "deadline" and 1 or 0) end
        for i = 1, 100 do list[i] = function() return db:single("SELECT ?", { i }) == i and db:single("SELECT " .. i) == i end end
        for _, right in ipairs { gwrun.parallel(table.unpack(list)) } do wrong = wrong + (right and 0 or 1) end
        return cut, wrong, { waiting = db:status().waiting }]]))
      assert.equal("nil nil deadline 5", run(c, [[ -- in a queue, and in a large result
        local held, free = false, false
        gwrun.spawn(function()
          small:beginTrans()
          held = true
          while not free do Timer.sleep(0.01) end
          small:rollBackTrans()
        end)
        while not held do Timer.sleep(0.01) end
        local first = gwrun.deadline(0.02, small.query, small, "SELECT 1")
        free = true
        local second, _, code = gwrun.deadline(0.02, small.query, small, "SELECT seq FROM seq_1_to_10000000")
        return first, second, code, small:single "SELECT 5"]]))
    end)

    it("undoes a transaction, wherever it was cut short", function()
      assert.equal("true", (run(c, [[db:query "CREATE TABLE cut (a INT)" return true]])))
      assert.equal("deadline deadline deadline 0 {idle=1,open=1,waiting=0}", run(c, [[
        local function cut(seconds, f, ...) return (select(3, gwrun.deadline(seconds, f, ...))) end
        local function insert(tx)
          tx:query "INSERT INTO cut VALUES (1)"
          Timer.sleep(0.05)
        end
        local a = cut(0.02, db.transaction, small, insert)
        gwrun.spawn(function() small:query "SELECT SLEEP(0.1)" end)
        Timer.sleep(0.01)
        local b = cut(0.02, small.transaction, small, insert) -- it waits for the connection
        assert(small:query "SELECT 1")
        local c = cut(0.02, function()
          small:beginTrans()
          insert(small)
        end)
        small:rollBackTrans()
        return a, b, c, small:transaction(function(tx) return tx:single "SELECT COUNT(*) FROM cut" end), small:status()]]))
    end)

    it("closes when the last query was cut short", function()
      assert.equal("deadline {idle=0,open=0,waiting=0}", run(c, ([[
        local mine = Mysql.connect { socket = "SOCKET", user = "root" }
        local _, _, code = gwrun.deadline(0.02, function()
          gwrun.spawn(function() mine:close() end)
          mine:query "SELECT SLEEP(20)"
        end)
        return code, mine:status()]]):gsub("SOCKET", server.socket)))
    end)
  end)

  describe("transactions", function()
    local c, d
    setup(function()
      c, d = client(), client()
      run(c, [[db:query "CREATE TABLE accounts (id INT PRIMARY KEY, money INT) ENGINE=InnoDB"]])
    end)
    before_each(function()
      run(c, [[db:query "DELETE FROM accounts" db:query "INSERT INTO accounts VALUES (1, 100), (2, 0)"]])
    end)
    local function money() return run(d, [[return db:column "SELECT money FROM accounts ORDER BY id"]]) end

    it("are committed as a whole", function()
      assert.equal("done", run(c, [[return db:transaction(function(tx)
        tx:query("UPDATE accounts SET money = money - ? WHERE id = 1", { 30 })
        tx:update("accounts"):set("money", "money + ?", 30):where("id = 2"):query()
        return "done"
      end)]]))
      assert.equal("{70,30}", money())
    end)

    it("are rolled back by an error", function()
      assert.matches("raised: test:3: no", run(c, [[return db:transaction(function(tx)
        tx:query "UPDATE accounts SET money = 0"
        error "no"
      end)]]))
      assert.equal("{100,0}", money())
    end)

    it("are rolled back by nil and a message", function()
      assert.equal("nil not enough", run(c, [[return db:transaction(function(tx)
        tx:query "UPDATE accounts SET money = 0"
        return nil, "not enough"
      end)]]))
      assert.equal("{100,0}", money())
    end)

    it("of the plain calls belong to their handler", function()
      assert.equal("true {1,0} true", run(c, [[local began = db:beginTrans()
        db:query "UPDATE accounts SET money = 1 WHERE id = 1"
        local inside = db:column "SELECT money FROM accounts ORDER BY id"
        return began, inside, db:rollBackTrans()]]))
      assert.equal("{100,0}", money())
      run(c, [[db:beginTrans() db:query "UPDATE accounts SET money = 1 WHERE id = 1" db:commitTrans()]])
      assert.equal("{1,0}", money())
    end)

    it("that a handler forgot are rolled back before another gets the connection", function()
      run(c, [[small:beginTrans() small:query "UPDATE accounts SET money = 5"]])
      assert.equal("{100,0}", run(c, [[return small:column "SELECT money FROM accounts ORDER BY id"]]))
    end)

    it("cannot be begun by hand on a connection that others share", function()
      assert.matches("raised: .*BEGIN.*transaction", run(c, [[small:query "BEGIN"]]))
      run(c, [[db:query "CREATE PROCEDURE open() BEGIN START TRANSACTION; UPDATE accounts SET money = 5; END"]])
      assert.equal("2 0 {100,0}", run(c, [[return small:query "CALL open()", small:single "SELECT @@in_transaction",
        small:column "SELECT money FROM accounts ORDER BY id"]]))
    end)

    it("cannot be nested, nor used when they are over", function()
      assert.matches("raised: .*open in this handler already", run(c, [[db:beginTrans() db:beginTrans()]]))
      assert.matches("raised: .*no transaction is open", run(c, [[db:commitTrans()]]))
      assert.matches("raised: .*transaction is over", run(c, [[local t
        db:transaction(function(tx) t = tx end) t:query "SELECT 1"]]))
    end)

    it("that the server undid take no further statement", function()
      run(c, [[db:beginTrans() db:query "UPDATE accounts SET money = 7 WHERE id = 1" ready = true
        Timer.sleep(0) db:commitTrans() ready = nil]])
      -- Two handlers lock the rows in opposite order.
      local code = [[return db:transaction(function(tx)
        tx:query("UPDATE accounts SET money = money + 1 WHERE id = ?", { %d })
        met = (met or 0) + 1
        while met < 2 do Timer.sleep(0.01) end
        local ok, message, code = tx:query("UPDATE accounts SET money = money + 1 WHERE id = ?", { %d })
        if ok then return "won" end
        local after = select(3, tx:query "UPDATE accounts SET money = 0")
        return nil, code .. " " .. after
      end)]]
      send(c, code:format(1, 2))
      send(d, code:format(2, 1))
      local a, b = receive(c), receive(d)
      if a ~= "won" then a, b = b, a end
      assert.same({ "won", "nil deadlock enotconn" }, { a, b })
      assert.equal("{8,1}", money())
    end)
  end)

  describe("the pool", function()
    it("serves others while a query takes long", function()
      local slow, quick = client(), client()
      send(slow, [[return db:single "SELECT SLEEP(20)"]])
      run(quick, [[id = nil repeat
        id = db:single "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(20)'" until id]])
      for i = 1, 50 do assert.equal(tostring(i), run(quick, ("return db:single('SELECT ?', { %d })"):format(i))) end
      assert.equal("", slow.data)
      run(quick, [[db:query("KILL QUERY " .. id)]])
      receive(slow)
    end)

    it("lets those who wait time out, and serves the next", function()
      local a, b = client(), client()
      send(a, [[small:beginTrans() held, free = true, false
        while not free do Timer.sleep(0.01) end
        return small:rollBackTrans() ]])
      run(b, "while not held do Timer.sleep(0.01) end held = nil")
      assert.equal("nil no connection was free in time etimedout",
        (run(b, [[return small:single("SELECT 2", nil, 0.2)]]):gsub(" {.*", "")))
      send(b, [[begun = true return small:single("SELECT 2", nil, 20)]])
      run(client(), "while not begun do Timer.sleep(0.01) end begun, free = nil, true")
      assert.equal("2", receive(b))
      assert.equal("true", receive(a))
    end)

    it("gives up a query at its deadline", function()
      local c = client()
      assert.equal("nil the server did not answer in time etimedout",
        (run(c, [[return small:query("SELECT SLEEP(30)", nil, 0.1)]]):gsub(" {.*", "")))
      assert.equal("1", run(c, [[return small:single "SELECT 1"]]))
    end)

    it("refuses a result that is too large", function()
      local c = client()
      assert.equal("nil emsgsize 1", run(c, ([[
        local d = Mysql.connect { socket = "SOCKET", user = "root", max_result = 100000 }
        local big, _, code = d:query "SELECT REPEAT('x', 60000) UNION ALL SELECT REPEAT('y', 60000)"
        local one = d:single "SELECT 1"
        d:close()
        return big, code, one]]):gsub("SOCKET", server.socket)))
    end)

    it("says why it cannot connect", function()
      local c = client()
      assert.matches("^nil .*connect.* econnrefused {errno=2002", run(c, [[
        return Mysql.connect { socket = "/nowhere", user = "root" }:query "SELECT 1"]]))
      assert.matches("^nil .*connect.* econnrefused {errno=2002", run(c, [[
        return Mysql.connect { host = "127.0.0.1", port = 1, user = "root" }:query "SELECT 1"]]))
      assert.matches("^nil Access denied.* sql {errno=1045", run(c, ([[
        return Mysql.connect { socket = "SOCKET", user = "root", password = "x" }:query "SELECT 1"]])
        :gsub("SOCKET", server.socket)))
      assert.matches('raised: .*no option "hots"', run(c, [[Mysql.connect { hots = "" }]]))
    end)

    it("reaches a server by its host's name, and pings what was idle", function()
      if not uv.getaddrinfo("localhost", nil, { family = "inet" }) then return pending "nothing knows localhost here" end
      local c = client()
      run(c, ([[far = Mysql.connect { host = "localhost", port = %d, user = "root", ping = 0.01 }]]):format(server:port()))
      assert.equal("1 2 {idle=1,open=1,waiting=0}", run(c, [[local one = far:single "SELECT 1"
        Timer.sleep(0.05)
        return one, far:single("SELECT ?", { 2 }), far:status()]]))
      -- The network swallows everything: no call waits for longer than it may.
      server.frozen = true
      assert.equal("nil the server did not answer in time etimedout",
        (run(c, [[return far:query("SELECT 1", nil, 0.2)]]):gsub(" {.*", "")))
      server.frozen = false
      assert.equal("3", run(c, [[return far:single "SELECT 3"]]))
    end)

    it("rolls back what is open when nobody knows it any more", function()
      local c = client()
      run(c, [[db:query "CREATE TABLE left_open (a INT)"]])
      assert.equal("0", run(c, ([[
        do
          local mine = Mysql.connect { socket = "SOCKET", user = "root", database = "test" }
          mine:beginTrans()
          mine:query "INSERT INTO left_open VALUES (1)"
        end
        collectgarbage()
        collectgarbage()
        Timer.sleep(0.1)
        return db:single "SELECT COUNT(*) FROM left_open"]]):gsub("SOCKET", server.socket)))
    end)

    it("closes at a reload what it is rolling back", function()
      run(client(), [[Timer.once(0.01, function() small:beginTrans() small:query "UPDATE accounts SET money = 3" end)]])
      assert.equal(0, (app:cli "reload"))
      assert.equal("1", run(client(), [[return small:single "SELECT 1"]]))
    end)

    it("survives a server that is killed under load", function()
      local many = {}
      for i = 1, 20 do
        many[i] = client()
        send(many[i], [[local last
          while not stop do
            local ok, _, code = db:query("SELECT SLEEP(0.01)", nil, 5)
            last = code
            if not ok then break end
          end
          return last]])
      end
      run(many[1] and client(), "Timer.sleep(0.2)")
      server:kill()
      for i = 1, 20 do assert.matches("^econn", receive(many[i])) end
      local c = client()
      assert.matches("econnrefused", run(c, [[return select(3, db:query "SELECT 1")]]))
      server:up()
      assert.equal("1", run(c, [[return db:single "SELECT 1"]]))
      assert.equal("{idle=1,open=1,waiting=0}", run(c, [[return db:status()]]))
    end)

    it("loses a transaction with the server, and no more", function()
      local c = client()
      send(c, [[db:beginTrans() begun = true
        db:single "SELECT 1"
        while not killed do Timer.sleep(0.01) end
        local first = select(3, db:query "SELECT 1")
        local second = select(3, db:query "SELECT 1")
        local ended = db:rollBackTrans()
        return first, second, ended, db:single "SELECT 5"]])
      local other = client()
      run(other, "while not begun do Timer.sleep(0.01) end")
      server:kill()
      server:up()
      run(other, "killed = true")
      assert.equal("enotconn enotconn true 5", receive(c):gsub("econnreset", "enotconn"))
    end)

    it("ends with the script at a reload", function()
      local c = client()
      send(c, [[return db:query "SELECT SLEEP(1)"]])
      run(client(), [[Timer.add(0.05, function() db:query "SELECT SLEEP(60)" end)]])
      loop.pass(0.2)
      assert.equal(0, (app:cli "reload"))
      assert.matches("SLEEP", receive(c))
      assert.equal("1", run(c, [[return db:single "SELECT 1"]]))
    end)
  end)
end)
