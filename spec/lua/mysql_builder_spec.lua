-- The SQL that Mysql's builder writes and what becomes of parameters, with a core
-- that notes what it is given.
describe("lua/gwrun/mysql.lua", function()
  local null = require "cjson".null
  local Mysql, db, sql, params, result

  before_each(function()
    result = {}
    local pool = {}
    function pool.run(_, text, args)
      sql, params = text, args and { table.unpack(args, 1, args.n) }
      return table.unpack(result)
    end
    local core = { open = function() return pool end, handler = function() return 1 end }
    Mysql = {}
    assert(loadfile "lua/gwrun/mysql.lua")(core, { raise = require "gwrun.raise", json = { null = null } }, Mysql)
    db = Mysql.connect {}
    result = { {} }
  end)

  -- Run what was built, and compare.
  local function gives(text, values, query)
    query:query()
    assert.equal(text, sql)
    assert.same(values, params)
  end

  describe("selects", function()
    it("columns from a table", function()
      gives("SELECT * FROM `people`", {}, db:select():from "people")
      gives("SELECT * FROM `people`", {}, db:select("*"):from "people")
      gives("SELECT `ID`, `Sex` FROM `people`", {}, db:select("ID,Sex"):from "people")
      gives("SELECT `p`.`id` AS `i`, count(*) AS n FROM `people` AS `p`", {},
        db:select({ "p.id as i", "count(*) AS n" }):from "people p")
      gives("SELECT IF(a, b, c) FROM `app`.`people`", {}, db:select("IF(a, b, c)"):from "app.people")
      gives("SELECT DISTINCT `p`.* FROM `people`", {}, db:select("p.*"):distinct():from "people")
    end)

    it("what conditions say, with bound values", function()
      gives("SELECT * FROM `t` WHERE (sex = ? AND id = ?)", { "M", 1 },
        db:select():from("t"):where("sex = :sex AND id = :id"):bindValues { id = 1, sex = "M" })
      gives("SELECT * FROM `t` WHERE (a = ?) AND (b = ?) OR (c > ?)", { 1, 2, 3 },
        db:select():from("t"):where("a = :a"):where("b = ?", 2):orWhere("c > ?", 3):bindValue("a", 1))
      gives("SELECT * FROM `t` WHERE (a = ? AND b = ?)", { 1, 2 },
        db:select():from("t"):where("a = ? AND b = ?"):bindValues { 1, 2 })
      gives("SELECT * FROM `t` WHERE (`a` = ? AND `b` IN (?, ?) AND `c` IS NULL)", { 1, 5, 6 },
        db:select():from("t"):where { a = 1, b = { 5, 6 }, c = Mysql.null })
    end)

    it("columns named by strangers, and nothing else", function()
      gives("SELECT * FROM `t` WHERE (`1` = ? AND `id = 1 OR TRUE -- ` = ? AND `p`.`a` = ? AND `x``y?` = ? AND `姓名` = ?)",
        { 5, 6, 4, 7, 8 }, db:select():from("t"):where {
          ["p.a"] = 4, ["1"] = 5, ["id = 1 OR TRUE -- "] = 6, ["x`y?"] = 7, ["姓名"] = 8,
        })
      gives("UPDATE `t` SET `a = 1, admin` = ?", { 1 }, db:update("t"):cols { ["a = 1, admin"] = 1 })
      gives("INSERT INTO `t` (`a`, `b) VALUES (1) -- `) VALUES (?, ?)", { 2, 1 },
        db:insert("t"):cols { "a", ["b) VALUES (1) -- "] = 1 }:bindValue("a", 2))
      for _, bad in ipairs { { "a" }, { [7] = 1 }, { [true] = 1 } } do
        assert.error_matches(function() db:delete("t"):where(bad) end, "has columns as keys")
      end
    end)

    it("joined tables", function()
      gives("SELECT * FROM `a` INNER JOIN `b` ON a.id = b.id LEFT JOIN `c` AS `x` ON x.id = ? RIGHT JOIN `d` ON TRUE",
        { 7 }, db:select():from("a"):innerJoin("b", "a.id = b.id"):leftJoin("c x", "x.id = ?", 7)
          :rightJoin("d", "TRUE"))
      gives("SELECT * FROM `a` CROSS JOIN `b`", {}, db:select():from("a"):join("cross", "b"))
    end)

    it("groups, in order, in part", function()
      gives("SELECT `sex`, avg(age) FROM `t` GROUP BY `sex`, year(born) HAVING (avg(age) > ?) OR (count(*) = ?) "
        .. "ORDER BY `sex` ASC, `n` DESC, `a` DESC, `b` LIMIT 10 OFFSET 20 FOR UPDATE", { 18, 1 },
        db:select({ "sex", "avg(age)" }):from("t"):groupBy { "sex", "year(born)" }:having("avg(age) > ?", 18)
          :orHaving("count(*) = ?", 1):orderByASC { "sex" }:orderByDESC("n"):orderBy { "a desc", "b" }
          :limit(10):offset(20):forUpdate())
      gives("SELECT * FROM `t` LIMIT 10 OFFSET 20", {}, db:select():from("t"):page(3))
      gives("SELECT * FROM `t` LIMIT 5", {}, db:select():from("t"):setPaging(5):page(1))
      gives("SELECT * FROM `t` LIMIT 9223372036854775807 OFFSET 3", {}, db:select():from("t"):offset(3))
      assert.error_matches(function() db:select():limit "1; DROP TABLE t" end, "whole number")
    end)

    it("unions", function()
      gives("SELECT `a` FROM `t` WHERE (x = ?) UNION SELECT `b` FROM `u` WHERE (y = ?) UNION ALL SELECT `c` FROM `v`",
        { 1, 2 }, db:select("a"):from("t"):where("x = ?", 1):union("b"):from("u"):where("y = ?", 2)
          :unionAll():select("c"):from("v"))
    end)
  end)

  describe("writes", function()
    it("rows, by values or by names", function()
      gives("INSERT INTO `t` (`a`, `b`) VALUES (?, ?)", { 1, "x" }, db:insert("t"):cols { b = "x", a = 1 })
      gives("INSERT INTO `t` (`a`, `b`) VALUES (?, ?)", { 1, Mysql.null },
        db:insert("t"):cols { "a", "b" }:bindValues { a = 1, b = Mysql.null })
      gives("INSERT IGNORE INTO `t` (`at`) VALUES (NOW())", {}, db:insert("t"):ignore():set("at", "NOW()"))
      gives("REPLACE INTO `t` (`a`) VALUES (?)", { 1 }, db:replace("t"):cols { a = 1 })
    end)

    it("changes", function()
      gives("UPDATE `t` SET `sex` = ?, `n` = n + ? WHERE (id = ?) ORDER BY `id` LIMIT 1", { "F", 2, 9 },
        db:update("t"):cols { "sex" }:set("n", "n + ?", 2):where("id = :id"):orderBy("id"):limit(1)
          :bindValues { sex = "F", id = 9 })
      -- A column and a condition of the same name do not meet.
      gives("UPDATE `t` SET `id` = ? WHERE (id = ?)", { 2, 1 },
        db:update("t"):cols { id = 2 }:where("id = :id"):bindValue("id", 1))
      gives("DELETE FROM `t` WHERE (id = ?)", { 1 }, db:delete("t"):where("id = ?", 1))
      assert.error_matches(function() db:update("t"):query() end, "sets no column")
    end)

    it("tells the insert id or how many rows", function()
      result = { 1, 17 }
      assert.same({ 17, 1 }, { db:insert("t"):cols { a = 1 }:query() })
      assert.equal(17, db:lastInsertId())
      result = { 3, 0 }
      assert.same({ 3 }, { db:query "UPDATE t SET a = 1" })
    end)
  end)

  describe("binds", function()
    local function bound(text, values)
      db:query(text, values)
      return sql, table.unpack(params)
    end

    it("names and question marks", function()
      assert.same({ "a = ? AND b = ? AND a2 = ?", 1, 2, 1 }, { bound("a = :a AND b = :b AND a2 = :a", { a = 1, b = 2 }) })
      assert.same({ "f(?, ?)", 1, "x" }, { bound("f(?, ?)", { 1, "x" }) })
    end)

    it("nothing inside quotes, comments and names", function()
      for _, text in ipairs {
        "':a ? \\' ''?'", '"?\\\\"', "`?:a`", "1 -- ? :a", "1 # ?", "/* :a ? */", "@x := 1", "a/b-c", "12:30",
      } do
        assert.same({ text .. "\n?", 1 }, { bound(text .. "\n:p", { p = 1 }) })
      end
    end)

    it("lists", function()
      assert.same({ "x IN (?, ?, ?) AND y = ?", 1, 2, 3, 4 }, { bound("x IN (:l) AND y = :y", { l = { 1, 2, 3 }, y = 4 }) })
      local none = "SELECT NULL FROM DUAL WHERE FALSE"
      assert.same({ "x IN (" .. none .. ")" }, { bound("x IN (?)", { {} }) })
      assert.same({ "x not in(" .. none .. ") AND y IN (?)", 1 }, { bound("x not in(:l) AND y IN (:m)", { l = {}, m = { 1 } }) })
      assert.same({ "FIELD(x, NULL)" }, { bound("FIELD(x, ?)", { {} }) })
      for _, text in ipairs { "IN /* y (? */ (?)", "IN -- y\n(?)", "IN ( # (\n ?)" } do
        assert.same({ (text:gsub("%?%)$", none .. ")")) }, { bound(text, { {} }) })
      end
      for _, text in ipairs {
        "x IN (1, :l)", "x IN (:l, 1)", "x IN (:l, :m)", "x NOT IN ((:l))", "x <> :l", "GREATEST(:l)",
        "INSERT INTO t VALUES (:l)", "INSERT INTO t VALUES (1, :l)", "FIELD(:l)", "-- IN (\n:l)", "xin(:l)",
      } do
        assert.error_matches(function()
          bound(text, { l = {}, m = text:find ":m" and 1 or nil })
        end, "the list of parameter :l is empty; only one that stands alone in IN %(…%) may be")
      end
      assert.error_matches(function() bound("x IN (:l)", { l = { a = 1 } }) end, "the table of parameter :l is no list")
    end)

    it("no condition that is empty where it would mean every row", function()
      for _, query in ipairs {
        function() db:delete("t"):where {} end, function() db:update("t"):where {} end,
        function() db:select():from("t"):where({ a = 1 }):orWhere {} end,
      } do
        local ok, message = pcall(query)
        assert.is_false(ok)
        assert.matches("mysql_builder_spec.lua:%d+: the condition's table is empty", message)
      end
      assert.equal("SELECT * FROM `t` WHERE (TRUE)", (db:select():from("t"):where({}):toSql()))
    end)

    it("every parameter once, or says which is wrong", function()
      assert.error_matches(function() bound(":a", {}) end, "no value for parameter :a")
      assert.error_matches(function() bound("? ?", { 1 }) end, "no value for parameter 2")
      assert.error_matches(function() bound(":a", { a = 1, b = 2 }) end, "has no parameter :b")
      assert.error_matches(function() bound("?", { print }) end, "a function cannot be the value of parameter 1")
      local _, message = pcall(function() db:select():where("a = ? AND b = ?", 1) end)
      assert.matches("mysql_builder_spec.lua:%d+: 1 values for 2 question marks", message)
    end)

    it("nothing without parameters: the text goes as it is", function()
      db:query "SELECT '?', :a"
      assert.equal("SELECT '?', :a", sql)
      assert.is_nil(params)
    end)
  end)

  it("gives rows, one row, a column, one value", function()
    result = { { { a = 1 }, { a = 2 } } }
    assert.same({ { a = 1 }, { a = 2 } }, db:query "SELECT")
    assert.same({ a = 1 }, db:row "SELECT")
    result = { { 1, 2 } }
    assert.same({ 1, 2 }, db:column "SELECT")
    assert.equal(1, db:single "SELECT")
    assert.equal("SELECT", db:lastSQL())
    result = { nil, "no", "sql", { errno = 1 } }
    for _, method in ipairs { "query", "row", "column", "single" } do
      assert.same({ nil, "no", "sql", { errno = 1 } }, { db[method](db, "SELECT") })
    end
  end)

  it("refuses what would change a shared connection", function()
    for _, text in ipairs { "BEGIN", "start transaction", " LOCK TABLES t READ", "USE other" } do
      assert.error_matches(function() db:query(text) end, "would change a connection")
    end
  end)
end)
