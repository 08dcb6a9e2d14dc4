-- A script's error as people want it: the message, the lines of source around the
-- place that it names, and the script's own part of the traceback.
--
-- Run by cli/traceback.c in a Lua state of its own, for every error shown on a
-- terminal: by gwrun dev, check, start, reload, exec. What it is given may be
-- anything that a script has raised.
local M = {}

local CONTEXT = 2 -- lines of source before and behind the one
local LINE_MAX = 160 -- bytes shown of each; longer ones are cut
local CUT = "..." -- in front of a file's name that is too long for Lua
local HEADING = "stack traceback:"

local BOLD, DIM, RED = "\27[1m", "\27[2m", "\27[1;31m"
local PLAIN = ""

local function starts_with(text, start) return text:sub(1, #start) == start end

-- The lines of a text; what is behind the last newline is one if it is not empty.
local function lines_of(text)
  local lines = {}
  for line, newline in text:gmatch "([^\n]*)(\n?)" do
    if line ~= "" or newline ~= "" then lines[#lines + 1] = line end
  end
  return lines
end

-- The "file:line:" at the beginning of a text, perhaps behind "who: ", as { file =,
-- line =, len = (bytes of all of it) }; nil when there is none.
local function parse_place(text)
  if starts_with(text, "[") then return nil end
  local from, colon = 1, text:find(":", 2, true)
  while colon do
    local digits, stop = text:match("^(%d+):()", colon + 1)
    local line = digits and #digits <= 8 and tonumber(digits) or 0
    if line > 0 then return { file = text:sub(from, colon - 1), line = line, len = stop - 1 } end
    if text:sub(colon + 1, colon + 1) == " " then from = colon + 2 end
    colon = text:find(":", colon + 1, true)
  end
  return nil
end

-- What a message quotes at its end, such as global 'x' or near 'x'.
local function quoted_word(message) return message:match ".*'([^']*)'[^']*$" end

local function is_name(char) return char:find "^[%w_]$" ~= nil end

-- Is what stands from first to last in the line a word, not a part of one?
local function is_word(line, first, last)
  local before, behind = line:sub(first - 1, first - 1), line:sub(last + 1, last + 1)
  return not (first > 1 and is_name(before) and is_name(line:sub(first, first)))
    and not (is_name(behind) and is_name(line:sub(last, last)))
end

-- Where the only occurrence of a word in a line begins; nil when there is none or
-- another, or nobody knows how wide what stands before it is.
local function find_word(line, word)
  local found
  local first, last = line:find(word, 1, true)
  while first do
    if is_word(line, first, last) then
      if found then return nil end
      found = first
    end
    first, last = line:find(word, first + 1, true)
  end
  return found and not line:sub(1, found):find "[\x80-\xff]" and found or nil
end

-- "(to close 'x' at line 3)": that line too.
local function opening_line(message) return tonumber(message:match "' at line (%d+)") end

-- The line, or its beginning, not cut within a character.
local function cut(line)
  local keep = math.min(#line, LINE_MAX)
  while keep < #line and keep > 0 and line:find("^[\x80-\xbf]", keep + 1) do keep = keep - 1 end
  return line:sub(1, keep)
end

--- The text to show of what Lua says about an error, its message and traceback, without
-- a newline at the end.
---@param text string
---@param style { lua_dir: string, script: string, color: boolean } code below lua_dir is
-- gwrun's own and left out; files whose names Lua has cut may be where the script is
---@param read fun(path: string): string|nil the source in a file; nil: it cannot be shown
---@param plain fun(text: string): string the text without what commands a terminal
---@return string
function M.show(text, style, read, plain)
  local out = {}
  local marked -- the place whose source was shown

  local function put(paint, part)
    local color = style.color and paint ~= PLAIN and part ~= ""
    out[#out + 1] = color and paint .. plain(part) .. "\27[m" or plain(part)
  end

  local function end_line() out[#out + 1] = "\n" end

  -- The file in folder, or below, whose path ends as this name that Lua has cut.
  local function find_in(folder, name)
    local ending = name:sub(#CUT + 1)
    local slash = ending:find("/", 1, true)
    while slash do
      local path = folder .. ending:sub(slash)
      if path:sub(-#ending) == ending and read(path) then return path end
      slash = ending:find("/", slash + 1, true)
    end
    return nil
  end

  local function is_cut(file) return #file > #CUT and starts_with(file, CUT) end

  -- Is it code of gwrun's own?
  local function is_own(place)
    if is_cut(place.file) then return find_in(style.lua_dir, place.file) ~= nil end
    return starts_with(place.file, style.lua_dir .. "/")
  end

  local function read_source(file)
    if not is_cut(file) then return read(file) end
    local folder = style.script:match "^(.*)/"
    local path = folder and find_in(folder, file)
    return path and read(path)
  end

  -- Carets under the word that the message quotes.
  local function put_carets(line, message, width)
    local word = quoted_word(message) or ""
    local at = word ~= "" and find_word(line, word)
    if not at then return end
    put(DIM, ("    %s | "):format((" "):rep(width)))
    put(PLAIN, (line:sub(1, at - 1):gsub("[^\t]", " ")))
    put(RED, ("^"):rep(#word))
    end_line()
  end

  -- The lines around place's, with the mark and what the message points at.
  local function put_lines(place, source, message)
    local opening = opening_line(message)
    local width = #tostring(place.line + CONTEXT)
    local shown
    for n, line in ipairs(lines_of(source)) do
      if n > place.line + CONTEXT then break end
      if n >= place.line - CONTEXT or n == opening then
        local is_marked = n == place.line
        if shown and shown < n - 1 then out[#out + 1] = "    ...\n" end
        put(is_marked and RED or DIM,
          ("  %s %" .. width .. "d | "):format(is_marked and ">" or " ", n))
        line = cut(line)
        put(is_marked and BOLD or PLAIN, line)
        end_line()
        if is_marked then put_carets(line, message, width) end
        shown = n
      end
    end
  end

  -- Show the source at a place, if it is the script's and can be found.
  local function put_source(place, message)
    local source = place and not is_own(place) and read_source(place.file)
    if not source then return false end
    put_lines(place, source, message)
    marked = place
    return true
  end

  -- Is it a frame of the traceback that tells about the script, and at which place?
  local function is_frame(line)
    if not line:find "^\t." then return false end
    local place = parse_place(line:sub(2))
    if place then return not is_own(place), place end
    return starts_with(line, "\t[string")
  end

  -- The last place that the message names, or the first one of the traceback.
  local function put_best_source()
    local head = text:find(HEADING, 1, true) or #text + 1
    local best, best_line
    for _, line in ipairs(lines_of(text:sub(1, head - 1))) do
      local place = parse_place(line:match "^[\t ]*(.*)")
      if place and not is_own(place) then best, best_line = place, line end
    end
    if put_source(best, best_line) then return end
    for _, line in ipairs(lines_of(text:sub(head))) do
      local tells, place = is_frame(line)
      if tells and put_source(place, "") then return end
    end
  end

  -- Behind the message, from this line on: headings with the script's frames, and what
  -- else there is (an error may quote another one).
  local function put_rest(lines, from)
    local headed = false
    for i = from, #lines do
      local line = lines[i]
      local tells, place = is_frame(line)
      if line == HEADING then
        headed = false
      elseif not starts_with(line, "\t") then
        put(DIM, line)
        end_line()
      elseif tells and (headed or not (place and marked and place.file == marked.file
        and place.line == marked.line)) then -- else it is what is shown
        if not headed then
          put(DIM, "called from")
          end_line()
        end
        headed = true
        put(DIM, line)
        end_line()
      end
    end
  end

  local lines = lines_of(text)
  local at = 1
  while lines[at] and not starts_with(lines[at], HEADING) do
    local place = parse_place(lines[at])
    put(BOLD, lines[at]:sub(1, place and place.len or 0))
    put(RED, lines[at]:sub((place and place.len or 0) + 1))
    end_line()
    at = at + 1
  end
  put_best_source()
  put_rest(lines, at)
  return (table.concat(out):gsub("\n$", ""))
end

return M
