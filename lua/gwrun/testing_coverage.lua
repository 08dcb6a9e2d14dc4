-- gwrun test --coverage: which lines of the scripts the specs have run.
local M = {}

-- ---- which lines a file has ----

-- Reads what string.dump() of Lua 5.4 makes.
local Reader = {}
Reader.__index = Reader

function Reader:unpack(format)
  local value, next_at = (format):unpack(self.data, self.at)
  self.at = next_at
  return value
end

-- Seven bits a byte; the last one has the eighth.
function Reader:number()
  local n = 0
  repeat
    local byte = self:unpack "B"
    n = n << 7 | byte & 0x7f
  until byte >= 0x80
  return n
end

function Reader:string()
  local size = self:number()
  if size > 0 then self.at = self.at + size - 1 end
end

function Reader:each(read)
  for i = 1, self:number() do read(self, i) end
end

local constants = { [3] = "i8", [19] = "d" } -- an integer, a float
local text = { [4] = true, [20] = true }

local function read_constant(self)
  local kind = self:unpack "B"
  if text[kind] then self:string() end
  if constants[kind] then self:unpack(constants[kind]) end
end

-- Each instruction is so many lines behind the one before it; -128: see the list
-- that follows. The first of a chunk and the return that every function has at
-- its end are nobody's line.
local function read_lines(self, line, is_vararg, lines)
  local steps, absolute = {}, {}
  self:each(function(_, i) steps[i] = self:unpack "b" end)
  self:each(function()
    local at = self:number()
    absolute[at + 1] = self:number()
  end)
  for i, step in ipairs(steps) do
    line = step == -128 and absolute[i] or line + step
    if i < #steps and not (is_vararg and i == 1) then lines[line] = true end
  end
end

local function read_function(self, lines)
  self:string()
  local first = self:number()
  self:number()
  self:unpack "B"
  local is_vararg = self:unpack "B" ~= 0
  self:unpack "B"
  self.at = self:number() * 4 + self.at
  self:each(read_constant)
  self.at = self:number() * 3 + self.at
  self:each(function() read_function(self, lines) end)
  read_lines(self, first, is_vararg, lines)
  self:each(function()
    self:string()
    self:number()
    self:number()
  end)
  self:each(self.string)
end

-- The set of lines with code in a compiled chunk.
function M.lines_of(chunk)
  local reader = setmetatable({ data = string.dump(chunk), at = 33 }, Reader)
  local lines = {}
  read_function(reader, lines)
  return lines
end

-- ---- the report ----

-- "3, 7-9"
local function ranges(list)
  local out, i = {}, 1
  while i <= #list do
    local first = list[i]
    while list[i + 1] == list[i] + 1 do i = i + 1 end
    out[#out + 1] = first == list[i] and tostring(first) or first .. "-" .. list[i]
    i = i + 1
  end
  return table.concat(out, ", ")
end

--- Lines of text: each file that ran, but none below a folder to leave out. hits
--- is the core's table: path → set of lines.
function M.report(hits, leave_out)
  local paths, out = {}, {}
  for path in pairs(hits) do
    if path:sub(1, #leave_out) ~= leave_out then paths[#paths + 1] = path end
  end
  table.sort(paths)
  for _, path in ipairs(paths) do
    local chunk = loadfile(path, "t")
    local missed, count = {}, 0
    for line in pairs(chunk and M.lines_of(chunk) or {}) do
      count = count + 1
      if not hits[path][line] then missed[#missed + 1] = line end
    end
    table.sort(missed)
    if count > 0 then
      local share = (count - #missed) * 100 // count
      out[#out + 1] = ("%3d %%  %s%s"):format(share, path,
        #missed > 0 and "  not run: " .. ranges(missed) or "")
    end
  end
  return table.concat(out, "\n")
end

return M
