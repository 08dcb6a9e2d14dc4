-- gwrun check: callbacks and functions of gwrun's that a script names, but that do
-- not exist. They would be found only when the line runs, or never.
--
-- Run by cli/misspelt.c in the state of a script that was loaded.
local script, handler, callbacks, similar, warn = ...

local tables = { "Gateway", "Timer", "Log", "Mysql", "Redis", "Http", "Socket", "Websocket",
  "gwrun" }
local warnings_max = 20
local warnings = 0

local function complain(text, ...)
  warnings = warnings + 1
  if warnings == warnings_max then warn "there are more" end
  if warnings < warnings_max then warn(text:format(...)) end
end

local function hint(owner, name)
  return name and ("; did you mean %s.%s?"):format(owner, name) or ""
end

-- callbacks

local function sorted_names(t)
  local names = {}
  for key in pairs(t) do
    if type(key) == "string" then names[#names + 1] = key end
  end
  table.sort(names)
  return names
end

local function check_callbacks(events)
  local known = {}
  for _, name in ipairs(callbacks) do known[name] = true end
  for _, name in ipairs(sorted_names(events)) do
    local meant = not known[name] and type(events[name]) == "function" and similar(name, callbacks)
    if meant then
      local at = debug.getinfo(events[name], "S")
      local place = at.what == "C" and "" or ("%s:%d: "):format(at.short_src, at.linedefined)
      complain("%s%s.%s is never called%s", place, handler, name, hint(handler, meant))
    end
  end
end

-- calls

-- Where the comment or string that begins at i ends; nil when none begins there.
local function find_end(text, i)
  local long = text:match("^%-?%-?%[(=*)%[", i)
  local is_comment = text:find("^%-%-", i)
  if long and (is_comment or text:sub(i, i) == "[") then
    return select(2, text:find("]" .. long .. "]", i, true)) or #text
  end
  if is_comment then return (text:find("\n", i, true) or #text + 1) - 1 end
  local quote = text:match("^[\"']", i)
  if not quote then return nil end
  local j = i + 1
  while true do
    j = text:find("[\\\n" .. quote .. "]", j)
    if not j then return #text end
    if text:sub(j, j) ~= "\\" then return j end
    j = j + 2
  end
end

-- The text with spaces in the place of comments and strings.
local function code_of(text)
  local parts, from = {}, 1
  local i = text:find "[%-\"'%[]"
  while i do
    local last = find_end(text, i)
    if last then
      parts[#parts + 1] = text:sub(from, i - 1)
      parts[#parts + 1] = text:sub(i, last):gsub("[^\n]", " ")
      from = last + 1
    end
    i = text:find("[%-\"'%[]", last and last + 1 or i + 1)
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

local function has_word(text, word) return text:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil end

-- Does the file give the name to something of its own?
local function is_shadowed(code, owner)
  for names, value in code:gmatch "%f[%w_]local%s+([%a_][%w_%s,<>]-)%s*=%s*([^\n]*)" do
    if has_word(names, owner) and not has_word(value, owner) then return true end
  end
  for names in code:gmatch "%f[%w_]function[%s%w_.:]*(%b())" do
    if has_word(names, owner) then return true end
  end
  return false
end

-- Is it the field of something else, as in app.Gateway?
local function is_field(code, pos)
  local before = code:sub(math.max(pos - 40, 1), pos - 1):match "([.:]+)%s*$"
  return before == "." or before == ":"
end

local function check_calls(path, code, owner)
  local functions = _G[owner]
  if type(functions) ~= "table" or is_shadowed(code, owner) then return end
  for pos, name in code:gmatch("()%f[%w_]" .. owner .. "%s*%.%s*([%a_][%w_]*)") do
    if functions[name] == nil and not is_field(code, pos) then
      local _, lines = code:sub(1, pos):gsub("\n", "")
      complain("%s:%d: %s.%s does not exist%s", path, lines + 1, owner, name,
        hint(owner, similar(name, sorted_names(functions))))
    end
  end
end

local function check_file(path)
  local file = io.open(path, "rb")
  if not file then return end
  local code = code_of(file:read "a")
  file:close()
  for _, owner in ipairs(tables) do check_calls(path, code, owner) end
end

if type(_G[handler]) == "table" then check_callbacks(_G[handler]) end
check_file(script)
local folder = script:match "^(.*/)" or "./"
for _, name in ipairs(sorted_names(package.loaded)) do
  local path = package.searchpath(name, package.path)
  if path and path:sub(1, #folder) == folder then check_file(path) end
end
