-- gwrun.metrics: numbers of a script's own, which the operators' port tells beside
-- gwrun's (docs/monitoring.md). They live in memory that outlives the script: a
-- reload, and the process that takes the place of this one, go on with them.
--
-- Loaded by lualib/linit.c when it is required, with its core in C (lmetrics.c) and
-- what gwrun's modules share.
local core, common = ...
local error, check = common.raise.error, common.raise.check
local concat = table.concat
local huge = math.huge
local ipairs, next, pairs, setmetatable = ipairs, next, pairs, setmetatable
local select, tostring, type = select, tostring, type
local utf8_len, utf8_offset = utf8.len, utf8.offset

local M = {}

local NAME_MAX = 90  -- characters of a name
local LABELS_MAX = 8 -- of a metric
local VALUE_MAX = 64 -- characters of a label's value; more are cut
local reserved = { role = true, name = true, slot = true, le = true }
local families = {} -- by name
local told = {} -- by the names under which they are told
local endings = { "_bucket", "_count", "_sum" } -- of a histogram

local function fail(...) error("metrics: " .. (...):format(select(2, ...)), 2) end

-- ---- what a metric is ----

local function check_name(name)
  name = tostring(check(name, "string", 1, "name"))
  if not name:match "^[%a_][%w_]*$" or #name > NAME_MAX then
    fail("\"%s\" is no name; use letters, digits and \"_\", %d at most", name, NAME_MAX)
  end
  if name:match "^gwrun_" then fail "names that begin with \"gwrun_\" are gwrun's" end
end

local function check_labels(options, kind)
  local list = {}
  if options == nil then return list end
  check(options, "table", 3, kind)
  for key in pairs(options) do
    if key ~= "labels" then fail("there is no option \"%s\", only \"labels\"", tostring(key)) end
  end
  for i, label in ipairs(options.labels or list) do
    if type(label) ~= "string" or not label:match "^%a[%w_]*$" or reserved[label] then
      fail("\"%s\" cannot be a label", tostring(label))
    end
    if list[label] then fail("the label \"%s\" is given twice", label) end
    list[i], list[label] = label, true
  end
  if #list > LABELS_MAX then fail("more than %d labels", LABELS_MAX) end
  return list
end

-- ---- the series of some labels ----

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n", ["\0"] = "?" }

-- As Prometheus wants it: UTF-8 of one line.
local function quote(value)
  if not utf8_len(value) then value = value:gsub("[\128-\255]", "?") end
  if utf8_len(value) > VALUE_MAX then
    value = value:sub(1, utf8_offset(value, VALUE_MAX + 1) - 1)
  end
  return '"' .. value:gsub('[\\"\n%z]', escapes) .. '"'
end

local function text_of(label, value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind ~= "number" and kind ~= "boolean" then
    fail("the label \"%s\" is a %s; give a string or a number", label, kind)
  end
  return tostring(value)
end

-- Labels that are not those of the metric.
local function refuse_labels(family, given)
  local known = {}
  for _, label in ipairs(family.labels) do known[label] = true end
  for key in pairs(given) do
    if not known[key] then fail("%s has no label \"%s\"", family.name, tostring(key)) end
  end
end

-- What is told as it is: many values that are cut are one series.
local function is_whole(value)
  local length = utf8_len(value)
  return length and length <= VALUE_MAX and not value:find("\0", 1, true)
end

local function make_row(family, key, values)
  local text, whole = {}, true
  for i, label in ipairs(family.labels) do
    text[i], whole = label .. "=" .. quote(values[i]), whole and is_whole(values[i])
  end
  local row, message, code = core.row(family.index, concat(text, ","))
  if row and whole then family.rows[key] = row end
  return row, message, code
end

-- nil, message, code when there are too many.
local function row_of(family, given)
  local labels, values, extra = family.labels, {}, 0
  if given == nil then given = {} end
  check(given, "table", 2, family.kind)
  for i, label in ipairs(labels) do
    local value = given[label]
    if value == nil then fail("%s needs the label \"%s\"", family.name, label) end
    values[i] = text_of(label, value)
  end
  for _ in next, given do extra = extra + 1 end
  if extra ~= #labels then refuse_labels(family, given) end
  local key = concat(values, "\0")
  local row = family.rows[key]
  if row then return row end
  return make_row(family, key, values)
end

-- ---- what is done with it ----

local function number(value, default)
  if value == nil then value = default end
  if type(value) ~= "number" then check(value, "number", 1, "value") end
  if value ~= value or value == huge or value == -huge then fail "the value is not finite" end
  return value
end

local function call(family, given, run, value)
  local row, message, code = row_of(family, given)
  if not row then return nil, message, code end
  run(row, value)
  return true
end

local function get(self, labels)
  local row, message, code = row_of(self, labels)
  if not row then return nil, message, code end
  return core.get(row)
end

local types = { counter = { get = get }, gauge = { get = get }, histogram = { get = get } }

function types.counter:add(n, labels)
  n = number(n, 1)
  if n < 0 then fail "a counter only rises" end
  return call(self, labels, core.add, n)
end

function types.gauge:set(value, labels) return call(self, labels, core.set, number(value)) end
function types.gauge:add(n, labels) return call(self, labels, core.add, number(n, 1)) end

function types.histogram:observe(seconds, labels)
  return call(self, labels, core.observe, number(seconds))
end

-- The names under which Prometheus gets it; each belongs to one metric.
local function names_of(kind, name)
  if kind == "counter" then return { name:match "_total$" and name or name .. "_total" } end
  local names = { name }
  if kind ~= "histogram" then return names end
  for i, ending in ipairs(endings) do names[i + 1] = name .. ending end
  return names
end

local function make(kind, methods, name, help, labels)
  local names = names_of(kind, name)
  for _, as in ipairs(names) do
    if told[as] then fail("%s would be told as %s, as %s is", name, as, told[as]) end
  end
  local index, message, code = core.family(kind, name, help)
  if code == "eexist" then fail("%s has another type, until the system is restarted", name) end
  if not index then error(message, 2) end
  for _, as in ipairs(names) do told[as] = name end
  local family = { name = name, kind = kind, index = index, labels = labels, rows = {} }
  return setmetatable(family, methods)
end

for kind, methods in pairs(types) do
  methods.__index = methods
  methods.__name = "gwrun.metrics." .. kind
  M[kind] = function(name, help, options)
    check_name(name)
    check(help, "string", 2, kind)
    local labels = check_labels(options, kind)
    local family = families[name]
    if not family then
      family = make(kind, methods, name, help, labels)
      if #labels == 0 then row_of(family) end -- it is told from the beginning
      families[name] = family
    elseif family.kind ~= kind or concat(family.labels, ",") ~= concat(labels, ",") then
      fail("there is a %s %s with the labels { %s }", family.kind, name,
        concat(family.labels, ", "))
    end
    return family
  end
end

return M
