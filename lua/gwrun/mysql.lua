-- Mysql: databases for scripts. Calls look plain and wait underneath, while other
-- clients' events go on. The names are those of GatewayWorker's MySQL library.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core (lmysql.c),
-- what gwrun's modules share, and the table to fill.
local core, common, Mysql = ...
local raise = common.raise
local error = raise.error

local builder = {} -- filled below: SELECT, INSERT, UPDATE, DELETE
Mysql.null = common.json.null

local DEFAULT_TIMEOUT = 5 -- seconds
local TEMPLATES_MAX = 1000 -- statements whose parameters are known; then afresh

-- SQL with parameters

-- The end of the quoted text or comment that begins at i; nil when it begins
-- neither.
local function skip(sql, i)
  local c = sql:sub(i, i)
  if c == "'" or c == '"' or c == "`" then
    local stop = c == "`" and "`" or "[\\" .. c .. "]"
    local j = i + 1
    while true do
      local found = sql:find(stop, j)
      if not found then return #sql end
      if sql:sub(found, found) == c then return found end
      j = found + 2
    end
  elseif c == "#" or sql:find("^%-%-%s", i) then
    return (sql:find("\n", i, true)) or #sql
  elseif sql:find("^/%*", i) then
    return select(2, sql:find("*/", i + 2, true)) or #sql
  end
end

-- What stands in the statement for each parameter when its value is an empty list.
-- "x IN (:list)" gets a subquery without rows: it is false, and NOT IN true, as
-- they must be (of "IN (NULL)" both are unknown). In FIELD(x, :list) NULL is like
-- nothing. false: no text is right there.
local function empty_marks(texts)
  local marks, before = {}, ""
  for i = 1, #texts - 1 do
    before = before .. texts[i]
    local bare = before:gsub("/%*.-%*/", " "):gsub("%-%-%s[^\n]*\n", " "):gsub("#[^\n]*\n", " ")
    if bare:find "%f[%w_][Ii][Nn]%s*%(%s*$" and texts[i + 1]:find "^%s*%)" then
      marks[i] = "SELECT NULL FROM DUAL WHERE FALSE"
    else
      marks[i] = bare:find "%f[%w_][Ff][Ii][Ee][Ll][Dd]%([^()]*,%s*$" and "NULL"
    end
    before = before .. "?"
  end
  return marks
end

-- sql cut at its parameters: texts[1], names[1], texts[2] …; a name is a string
-- for ":name" and the number k for the k-th "?".
local function parse(sql)
  local texts, names = {}, {}
  local start, i, positional = 1, 1, 0
  while true do
    i = sql:find("[?:'\"`#/%-]", i)
    if not i then break end
    local stop = skip(sql, i)
    local name = not stop and sql:match("^:([%a_][%w_]*)", i)
    if not stop and sql:sub(i, i) == "?" then
      positional = positional + 1
      name = positional
    end
    if name then
      texts[#texts + 1] = sql:sub(start, i - 1)
      names[#names + 1] = name
      start = type(name) == "string" and i + #name + 1 or i + 1
      stop = start - 1
    end
    i = (stop or i) + 1
  end
  texts[#texts + 1] = sql:sub(start)
  return {
    texts = texts, names = names, plain = table.concat(texts, "?"), positional = positional,
    empty = empty_marks(texts),
  }
end

local templates, ntemplates = {}, 0

local function template_of(sql)
  local t = templates[sql]
  if t then return t end
  if ntemplates >= TEMPLATES_MAX then templates, ntemplates = {}, 0 end
  t = parse(sql)
  templates[sql], ntemplates = t, ntemplates + 1
  return t
end

local bindable = { string = true, number = true, boolean = true, userdata = true, table = true }

local function shown(name)
  return type(name) == "string" and "parameter :" .. name or "parameter " .. tostring(name)
end

local function check_used(t, params, level)
  local used = {}
  for _, name in ipairs(t.names) do used[name] = true end
  for name in pairs(params) do
    if not used[name] and name ~= "n" then
      error("the statement has no " .. shown(name), level)
    end
  end
end

-- The statement as the server gets it, and its parameters in order. A table is a
-- list, as in "id IN (:ids)".
local function bind(sql, params, level)
  local t = template_of(sql)
  local args, marks, n = {}, nil, 0
  check_used(t, params, level + 1)
  for i, name in ipairs(t.names) do
    local value = params[name]
    if value == nil then
      error(("no value for %s (NULL is Mysql.null)"):format(shown(name)), level)
    end
    if not bindable[type(value)] then
      error(("a %s cannot be the value of %s"):format(type(value), shown(name)), level)
    end
    if type(value) == "table" then
      if #value == 0 and next(value) ~= nil then
        error(("the table of %s is no list"):format(shown(name)), level)
      end
      marks = marks or {}
      marks[i] = #value > 0 and ("?, "):rep(#value - 1) .. "?" or t.empty[i]
      if not marks[i] then
        error(("the list of %s is empty; only one that stands alone in IN (…) may be")
          :format(shown(name)), level)
      end
      table.move(value, 1, #value, n + 1, args)
      n = n + #value
    else
      n = n + 1
      args[n] = value
    end
  end
  args.n = n
  if not marks then return t.plain, args end
  local parts = {}
  for i, text in ipairs(t.texts) do
    parts[#parts + 1] = text
    if t.names[i] then parts[#parts + 1] = marks[i] or "?" end
  end
  return table.concat(parts), args
end

-- Databases

local Db = {}
Db.__index = Db
Db.__name = "gwrun.mysql"

-- What each coroutine did last: {sql, insert_id, handler}.
local last = setmetatable({}, { __mode = "k" })

-- What the running handler did last. Its coroutine ran others before.
local function last_of_handler()
  local what = last[coroutine.running()]
  return what and what.handler == core.handler() and what or nil
end

local START = "START TRANSACTION"

-- Statements that change the connection, and what to use.
local unshared = {
  BEGIN = "use db:transaction(f) or db:beginTrans()",
  START = "use db:transaction(f) or db:beginTrans()",
  LOCK = "use a transaction with SELECT … FOR UPDATE",
  UNLOCK = "use a transaction",
  USE = "write database.table, or connect another time",
}

local function text_of(value)
  return type(value) == "table" and value.toSql and value or nil
end

-- rows or affected, insert id, a list of a CALL's further results | nil, message,
-- code, info
local function run(db, sql, params, timeout, column, level)
  local args
  if text_of(sql) then sql, params = sql:toSql() end
  if type(sql) ~= "string" then error("SQL text expected", level + 1) end
  if timeout ~= nil and (type(timeout) ~= "number" or timeout <= 0) then
    error "timeout: seconds expected"
  end
  local word = (sql:match "^%s*(%a+)" or ""):upper()
  if unshared[word] and sql ~= START then
    local text = "%s would change a connection that others use; %s"
    error(text:format(word, unshared[word]), level + 1)
  end
  if params ~= nil then
    if type(params) ~= "table" then error("a table with the parameters expected", level + 1) end
    sql, args = bind(sql, params, level + 1)
  end
  local co = coroutine.running()
  last[co] = { sql = sql, insert_id = 0, handler = core.handler() }
  local result, insert_id, more, info =
    db.pool:run(sql, args, timeout or db.timeout, column or false, db.hold)
  if result ~= nil then last[co].insert_id = insert_id end
  return result, insert_id, more, info
end

-- As run(), of a statement that has one result.
local function run_single(db, sql, params, timeout, column)
  local result, insert_id, more, info = run(db, sql, params, timeout, column, 3)
  if result == nil or not more then return result, insert_id, more, info end
  local text = "the statement gave %d results; db:query() returns them all"
  return nil, text:format(#more + 1), "results",
    { sqlstate = "HY000", errno = 0, sql = last[coroutine.running()].sql }
end

--- Run a statement: the rows (of a CALL all results, one after the other); for an
--- INSERT the insert id and the rows affected; for another the rows affected.
function Db:query(sql, params, timeout)
  local result, insert_id, more, info = run(self, sql, params, timeout, false, 2)
  if result == nil then return nil, insert_id, more, info end
  if more then return result, table.unpack(more) end
  local inserts = last[coroutine.running()].sql:find "^%s*[Ii][Nn][Ss][Ee][Rr][Tt]"
  if type(result) == "number" and inserts then return result > 0 and insert_id or 0, result end
  return result
end

--- The first row; nil when there is none.
function Db:row(sql, params, timeout)
  local rows, message, code, info = run_single(self, sql, params, timeout, false)
  if type(rows) == "table" then return rows[1] end
  if rows == nil then return nil, message, code, info end
end

--- The first column of all rows.
function Db:column(sql, params, timeout)
  local values, message, code, info = run_single(self, sql, params, timeout, true)
  if type(values) == "table" then return values end
  if values ~= nil then return {} end
  return nil, message, code, info
end

--- The first column of the first row; nil when there is none.
function Db:single(sql, params, timeout)
  local values, message, code, info = run_single(self, sql, params, timeout, true)
  if type(values) == "table" then return values[1] end
  if values == nil then return nil, message, code, info end
end

--- Of this handler's last statement.
function Db:lastInsertId() -- luacheck: no self
  local what = last_of_handler()
  return what and what.insert_id or 0
end

function Db:lastSQL() -- luacheck: no self
  local what = last_of_handler()
  return what and what.sql
end

--- Close when what is under way has ended.
function Db:close() self.pool:close() end

Db.closeConnection = Db.close

--- Connections that are open, those of them that are idle, and waiting calls.
function Db:status()
  local open, idle, waiting = self.pool:counts()
  return { open = open, idle = idle, waiting = waiting }
end

-- Transactions

-- For a <close> variable: leaving its block in any way gives the hold back, and
-- no error loses its traceback.
local Release = { __close = function(self) if self.hold then self.pool:release(self.hold) end end }

local function begin(db, level)
  local hold = db.pool:hold()
  if not hold then error("a transaction is open in this handler already", level + 1) end
  local release <close> = setmetatable({ pool = db.pool, hold = hold }, Release)
  local ok, message, code, info = run(db, START, nil, nil, false, level + 1)
  if ok == nil then return nil, message, code, info end
  release.hold = nil
  return hold
end

-- End the transaction with COMMIT or ROLLBACK.
local function finish(db, sql, level)
  local hold = db.pool:held()
  if not hold then error("no transaction is open in this handler", level + 1) end
  local _ <close> = setmetatable({ pool = db.pool, hold = hold }, Release)
  local ok, message, code, info = run(db, sql, nil, nil, false, level + 1)
  if ok ~= nil then return true end
  if sql == "ROLLBACK" then return true end -- the server has done or will do it
  if code ~= "enotconn" then message = message .. "; it is not known whether it was committed" end
  return nil, message, code, info
end

--- Begin a transaction: what this handler does next on the database belongs to
--- it, until it is committed or rolled back. A handler that ends first has it
--- rolled back.
function Db:beginTrans()
  local hold, message, code, info = begin(self, 2)
  if hold then return true end
  return nil, message, code, info
end

function Db:commitTrans() return finish(self, "COMMIT", 2) end

function Db:rollBackTrans() return finish(self, "ROLLBACK", 2) end

--- Call fn(tx, ...) in a transaction and return what it returns. It is committed,
--- unless fn raises or returns nil or false with a message.
function Db:transaction(fn, ...)
  raise.check(fn, "function", 1, "transaction")
  local hold, message, code, info = begin(self, 2)
  if not hold then return nil, message, code, info end
  local _ <close> = setmetatable({ pool = self.pool, hold = hold }, Release)
  local tx = setmetatable({ pool = self.pool, timeout = self.timeout, hold = hold }, Db)
  local results = table.pack(fn(tx, ...))
  if not results[1] and results[2] ~= nil then
    run(tx, "ROLLBACK", nil, nil, false, 2)
    return table.unpack(results, 1, results.n)
  end
  local ok
  ok, message, code, info = finish(tx, "COMMIT", 2)
  if not ok then return nil, message, code, info end
  return table.unpack(results, 1, results.n)
end

-- The query builder

local Query = {}
Query.__index = Query
Query.__name = "gwrun.mysql.query"

local function need_text(text, what)
  if type(text) ~= "string" and (type(text) ~= "number" or what == "a name") then
    error(("%s expected, got %s"):format(what, text == nil and "nothing" or "a " .. type(text)))
  end
end

-- Quote plain names: "t", "t.c", "t AS x", "t x"; leave expressions alone.
local function quote(name)
  need_text(name, "a name")
  local first, alias = name:match "^%s*([%w_.]+)%s+[Aa][Ss]%s+([%w_]+)%s*$"
  if not first then first, alias = name:match "^%s*([%w_.]+)%s+([%w_]+)%s*$" end
  first = first or name:match "^%s*([%w_.]+)%s*$" or name:match "^%s*([%w_.]*%.%*)%s*$"
  if not first or first:find "^%d" then return name end
  first = first:gsub("[%w_]+", "`%0`")
  return alias and first .. " AS `" .. alias .. "`" or first
end

-- The name of a column, whatever it holds: keys of tables may come from clients.
local function column(name)
  return (name:gsub("[^.]+", function(part) return "`" .. part:gsub("`", "``") .. "`" end))
end

local function each(list, f)
  local out = {}
  if type(list) == "string" then
    if list:find "[(`'\"]" then return { list } end -- an expression
    local parts = {}
    for part in list:gmatch "[^,]+" do parts[#parts + 1] = part end
    list = parts
  end
  if type(list) ~= "table" then need_text(list, "a name") end
  for i, item in ipairs(list) do out[i] = f(item) end
  return out
end

local function new_query(db, kind)
  return setmetatable({
    db = db, kind = kind, columns = {}, joins = {}, conditions = { where = {}, having = {} },
    groups = {}, orders = {}, assignments = {}, values = {}, unions = {}, nauto = 0,
  }, Query)
end

-- A parameter of the builder's own, which no name of the script's can meet.
local function auto(self, value)
  self.nauto = self.nauto + 1
  local name = "_auto_" .. self.nauto
  self.values[name] = value == nil and Mysql.null or value
  return ":" .. name
end

-- The text with its "?" bound to the values that came with it.
local function with_values(self, text, ...)
  need_text(text, "SQL text")
  local n = select("#", ...)
  if n == 0 then return text end
  local t, values, parts, k = parse(text), { ... }, {}, 0
  if t.positional ~= n then
    error(("%d values for %d question marks"):format(n, t.positional), 3)
  end
  for i, piece in ipairs(t.texts) do
    local name = t.names[i]
    parts[#parts + 1] = piece
    if type(name) == "number" then
      k = k + 1
      parts[#parts + 1] = auto(self, values[k])
    elseif name then
      parts[#parts + 1] = ":" .. name
    end
  end
  return table.concat(parts)
end

local function sorted_names(t)
  local names = {}
  for key in pairs(t) do
    if type(key) == "string" then names[#names + 1] = key end
  end
  table.sort(names)
  return names
end

-- Add a condition to the list; a table is name = value for each, joined by AND.
local function condition(self, list, word, cond, ...)
  local text
  if type(cond) == "table" then
    local parts = {}
    for key in pairs(cond) do
      if type(key) ~= "string" then error("a condition's table has columns as keys", 2) end
    end
    for i, key in ipairs(sorted_names(cond)) do
      if cond[key] == Mysql.null then
        parts[i] = column(key) .. " IS NULL"
      elseif type(cond[key]) == "table" then
        parts[i] = column(key) .. " IN (" .. auto(self, cond[key]) .. ")"
      else
        parts[i] = column(key) .. " = " .. auto(self, cond[key])
      end
    end
    if #parts == 0 and (self.kind ~= "SELECT" or word == "OR") then
      error("the condition's table is empty, which is true for every row", 2)
    end
    text = #parts > 0 and table.concat(parts, " AND ") or "TRUE"
  else
    text = with_values(self, cond, ...)
  end
  list = self.conditions[list]
  list[#list + 1] = { word = word, text = text }
  return self
end

function Query:from(name)
  self.source = text_of(name) and name or quote(name)
  return self
end

Query.table, Query.into = Query.from, Query.from

function Query:fromRaw(text)
  need_text(text, "SQL text")
  self.source = text
  return self
end

function Query:distinct(on)
  self.is_distinct = on ~= false
  return self
end

function Query:forUpdate(on)
  self.is_for_update = on ~= false
  return self
end

function Query:join(kind, name, cond, ...)
  need_text(kind, "a kind of join")
  self.joins[#self.joins + 1] = ("%s JOIN %s%s"):format(
    kind:upper(), quote(name), cond and " ON " .. with_values(self, cond, ...) or "")
  return self
end

function Query:innerJoin(name, cond, ...) return self:join("INNER", name, cond, ...) end

function Query:leftJoin(name, cond, ...) return self:join("LEFT", name, cond, ...) end

function Query:rightJoin(name, cond, ...) return self:join("RIGHT", name, cond, ...) end

function Query:where(cond, ...) return condition(self, "where", "AND", cond, ...) end

function Query:orWhere(cond, ...) return condition(self, "where", "OR", cond, ...) end

function Query:having(cond, ...) return condition(self, "having", "AND", cond, ...) end

function Query:orHaving(cond, ...) return condition(self, "having", "OR", cond, ...) end

local function append(list, items) table.move(items, 1, #items, #list + 1, list) end

function Query:groupBy(names)
  append(self.groups, each(names, quote))
  return self
end

-- A name with ASC or DESC behind it is quoted too.
local function order(text)
  local name, way = text:match "^%s*([%w_.]+)%s+([AaDd][Ee]?[Ss][Cc])%s*$"
  return name and quote(name) .. " " .. way:upper() or quote(text)
end

function Query:orderBy(names)
  append(self.orders, each(names, order))
  return self
end

function Query:orderByASC(names)
  append(self.orders, each(names, function(name) return quote(name) .. " ASC" end))
  return self
end

function Query:orderByDESC(names)
  append(self.orders, each(names, function(name) return quote(name) .. " DESC" end))
  return self
end

local function check_count(n, level)
  n = math.tointeger(n)
  if not n or n < 0 then error("a whole number from 0 on expected", level + 1) end
  return n
end

function Query:limit(n)
  self.max = check_count(n, 2)
  return self
end

function Query:offset(n)
  self.skipped = check_count(n, 2)
  return self
end

function Query:setPaging(n)
  self.paging = check_count(n, 2)
  return self
end

--- Page n, from 1 on; setPaging() says how many rows one has (10).
function Query:page(n)
  self.page_number = check_count(n, 2)
  return self
end

--- Columns to write: name = value, or names whose values bindValues() gives.
function Query:cols(columns)
  raise.check(columns, "table", 1, "cols")
  for _, name in ipairs(columns) do
    self.assignments[#self.assignments + 1] = { name = name, text = ":" .. name }
  end
  for _, name in ipairs(sorted_names(columns)) do
    self.assignments[#self.assignments + 1] = { name = name, text = auto(self, columns[name]) }
  end
  return self
end

--- Set a column to an expression, such as set("n", "n + 1") or set("n", "n + ?", 2).
function Query:set(name, text, ...)
  need_text(name, "a column")
  self.assignments[#self.assignments + 1] = { name = name, text = with_values(self, text, ...) }
  return self
end

function Query:ignore(on)
  self.is_ignore = on ~= false
  return self
end

function Query:bindValue(name, value)
  self.values[name] = value == nil and Mysql.null or value
  return self
end

function Query:bindValues(values)
  raise.check(values, "table", 1, "bindValues")
  for name, value in pairs(values) do self.values[name] = value end
  return self
end

--- Seconds for the call, waiting for a connection included.
function Query:timeout(seconds)
  raise.check(seconds, "number", 1, "timeout")
  self.seconds = seconds
  return self
end

local function conditions_text(self, name)
  local parts = {}
  for i, c in ipairs(self.conditions[name]) do
    parts[i] = (i > 1 and c.word .. " " or "") .. "(" .. c.text .. ")"
  end
  return #parts > 0 and " " .. name:upper() .. " " .. table.concat(parts, " ") or ""
end

local function tail_text(self)
  local text = #self.orders > 0 and " ORDER BY " .. table.concat(self.orders, ", ") or ""
  local max, skipped = self.max, self.skipped
  if self.page_number then
    max = self.paging or 10
    skipped = max * math.max(self.page_number - 1, 0)
  end
  if max then text = text .. " LIMIT " .. max end
  if skipped and skipped > 0 then
    -- MySQL knows no OFFSET without LIMIT.
    text = text .. (max and "" or " LIMIT 9223372036854775807") .. " OFFSET " .. skipped
  end
  return text
end

local function need_table(self) return self.source or error "the query names no table" end

function builder.SELECT(self)
  local text = "SELECT " .. (self.is_distinct and "DISTINCT " or "")
    .. (#self.columns > 0 and table.concat(self.columns, ", ") or "*")
  if self.source then text = text .. " FROM " .. self.source end
  for _, join in ipairs(self.joins) do text = text .. " " .. join end
  text = text .. conditions_text(self, "where")
  if #self.groups > 0 then text = text .. " GROUP BY " .. table.concat(self.groups, ", ") end
  return text .. conditions_text(self, "having") .. tail_text(self)
    .. (self.is_for_update and " FOR UPDATE" or "")
end

function builder.INSERT(self)
  local names, texts = {}, {}
  for i, a in ipairs(self.assignments) do names[i], texts[i] = column(a.name), a.text end
  return ("%s INTO %s (%s) VALUES (%s)"):format(self.verb .. (self.is_ignore and " IGNORE" or ""),
    need_table(self), table.concat(names, ", "), table.concat(texts, ", "))
end

function builder.UPDATE(self)
  local sets = {}
  for i, a in ipairs(self.assignments) do sets[i] = column(a.name) .. " = " .. a.text end
  if #sets == 0 then error("the update sets no column", 4) end
  return "UPDATE " .. need_table(self) .. " SET " .. table.concat(sets, ", ")
    .. conditions_text(self, "where") .. tail_text(self)
end

function builder.DELETE(self)
  return "DELETE FROM " .. need_table(self) .. conditions_text(self, "where") .. tail_text(self)
end

-- Put what was selected so far before the next select.
local function union(self, word, columns)
  self.unions[#self.unions + 1] = builder.SELECT(self) .. " " .. word .. " "
  self.source, self.is_distinct, self.is_for_update = nil, nil, nil
  self.max, self.skipped, self.page_number = nil, nil, nil
  self.columns, self.joins, self.groups, self.orders = {}, {}, {}, {}
  self.conditions = { where = {}, having = {} }
  return columns and self:select(columns) or self
end

--- What follows is another select: union():select("b"):from("t"), or union("b").
function Query:union(columns) return union(self, "UNION", columns) end

function Query:unionAll(columns) return union(self, "UNION ALL", columns) end

--- More columns to select.
function Query:select(columns)
  append(self.columns, each(columns, quote))
  return self
end

--- The statement and its parameters, as db:query() takes them.
function Query:toSql()
  return table.concat(self.unions) .. builder[self.kind](self), self.values
end

-- Run the built statement by the method of db.
for _, method in ipairs { "query", "row", "column", "single" } do
  Query[method] = function(self)
    return self.db[method](self.db, self, nil, self.seconds)
  end
end

--- Begin a query: columns as "a, b", {"a", "b"} or nothing for all.
function Db:select(columns) return new_query(self, "SELECT"):select(columns or "*") end

function Db:insert(name)
  local query = new_query(self, "INSERT"):from(name)
  query.verb = "INSERT"
  return query
end

function Db:replace(name)
  local query = new_query(self, "INSERT"):from(name)
  query.verb = "REPLACE"
  return query
end

function Db:update(name) return new_query(self, "UPDATE"):from(name) end

function Db:delete(name) return new_query(self, "DELETE"):from(name) end

-- The module

local options = {
  host = true, port = true, socket = true, user = true, password = true, database = true,
  timeout = true, connect_timeout = true, pool_size = true, queue = true, idle = true, ping = true,
  max_result = true,
}

--- A database. It connects when it is first used, and again by itself.
function Mysql.connect(conf)
  if type(conf) ~= "table" then error("a table with the options expected", 2) end
  for key in pairs(conf) do
    if not options[key] then error(("Mysql has no option %q"):format(tostring(key)), 2) end
  end
  local timeout = conf.timeout or DEFAULT_TIMEOUT
  if type(timeout) ~= "number" or timeout <= 0 then error("timeout: seconds expected", 2) end
  local ok, pool = pcall(core.open, conf)
  if not ok then error(pool, 2) end
  return setmetatable({ pool = pool, timeout = timeout }, Db)
end

--- The same with the arguments of Workerman\MySQL\Connection.
function Mysql.Connection(host, port, user, password, database)
  return Mysql.connect {
    host = host, port = port, user = user, password = password, database = database,
  }
end
