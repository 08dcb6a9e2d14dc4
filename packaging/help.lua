-- What a gwrun program says of itself: its version, its commands, and of each its
-- text and its options, read from --help.
local M = {}

local function run(program, words)
  local pipe = assert(io.popen("'" .. program:gsub("'", [['\'']]) .. "' " .. words))
  local text = pipe:read "a"
  assert(pipe:close(), program .. " " .. words .. " failed")
  return text
end

--- "-c, --config FILE" -> { short = "-c", long = "--config", value = "FILE" }.
local function read_names(names)
  local option = { names = names }
  for name, value in (names .. ","):gmatch "(%-%-?[%w-]+)[= ]?([^,]*)," do
    option[name:match "^%-%-" and "long" or "short"] = name
    if value ~= "" then option.value = value end
  end
  return option
end

--- The options that stand in a text, each on a line of its own: its names, two
--- spaces or more, what it does; lines below that are indented more belong to it.
function M.options(text)
  local list = {}
  for line in text:gmatch "[^\n]*" do
    local names, what = (line .. "  "):match "^  (%-[^ ].-)%s%s+(.*)$"
    local more = line:match "^%s%s%s%s%s%s+(.*)$"
    if names then
      list[#list + 1] = read_names(names)
      list[#list].what = what:match "^(.-)%s*$"
    elseif more and #list > 0 then
      list[#list].what = (list[#list].what .. " " .. more):match "^%s*(.*)$"
    end
  end
  return list
end

--- Version, and the list { name, summary, text, usage, options } of all commands in
--- the order of gwrun --help.
function M.read(program)
  local commands = {}
  for name, summary in run(program, "--help"):gmatch "\n  (%l+) +([^\n]+)" do
    local text = run(program, name .. " --help")
    commands[#commands + 1] = {
      name = name, summary = summary, text = text,
      usage = text:match "^usage: ([^\n]+)",
      options = M.options(text),
    }
  end
  assert(#commands > 0, "gwrun --help lists no commands")
  return run(program, "version"):match "^gwrun (%S+)", commands
end

return M
