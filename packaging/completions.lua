-- Completions for bash, zsh and fish, from the commands that help.lua has read.
-- An option whose value is spelled "a|b|c" takes one of these words; FILE and DIR
-- are paths; other values are anybody's guess.
local M = {}

local HEAD = "# Made from gwrun's --help by packaging/generate.lua.\n"

local function names(commands)
  local list = {}
  for i, c in ipairs(commands) do list[i] = c.name end
  return table.concat(list, " ")
end

local function choices(option)
  return option.value and option.value:find("|", 1, true) and option.value:gsub("|", " ") or nil
end

--- How an option is typed: its short name, its long one, or both.
local function typed(option)
  local list = { option.short }
  list[#list + 1] = option.long
  return list
end

--- Every option, as typed, and --help.
local function flags(command)
  local list = {}
  for _, o in ipairs(command.options) do table.move(typed(o), 1, 2, #list + 1, list) end
  list[#list + 1] = "--help"
  return list
end

function M.bash(commands)
  local cases = {}
  for _, c in ipairs(commands) do
    local values = {}
    for _, o in ipairs(c.options) do
      local pattern = table.concat(typed(o), "|")
      if choices(o) then
        local words = ('COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(choices(o))
        values[#values + 1] = ("      %s) %s; return ;;\n"):format(pattern, words)
      end
    end
    cases[#cases + 1] = ('  %s)\n'):format(c.name)
      .. (#values > 0 and '    case $prev in\n' .. table.concat(values) .. '    esac\n' or "")
      .. ('    options="%s" ;;\n'):format(table.concat(flags(c), " "))
  end
  return HEAD .. ([[
_gwrun() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i command= options=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
    -c) ((i++)) ;;
    -*) ;;
    *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  COMPREPLY=()
  case $command in
  "")
    [ "$prev" = -c ] || COMPREPLY=($(compgen -W "@NAMES@ --help --version" -- "$cur"))
    return ;;
  help)
    COMPREPLY=($(compgen -W "@NAMES@" -- "$cur"))
    return ;;
@CASES@  esac
  case $cur in
  -*) COMPREPLY=($(compgen -W "$options" -- "$cur")) ;;
  esac
}
complete -o default -F _gwrun gwrun
]]):gsub("@(%u+)@", { NAMES = names(commands), CASES = table.concat(cases) })
end

local function quote(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

--- A text within [] of zsh's specifications of options.
local function bracketed(text) return (text:gsub("[%[%]\\:]", "\\%0")) end

local function zsh_value(o)
  if not o.value then return "" end
  if choices(o) then return ":" .. o.value:gsub("|", " ") .. ":(" .. choices(o) .. ")" end
  return ":" .. o.value .. ":" .. (o.value == "FILE" and "_files" or "")
end

function M.zsh(commands)
  local list, cases = {}, {}
  for _, c in ipairs(commands) do
    list[#list + 1] = "    " .. quote(c.name .. ":" .. c.summary) .. "\n"
    local specs = {}
    for _, o in ipairs(c.options) do
      for _, name in ipairs(typed(o)) do
        local equals = o.names:find("=", 1, true) and "=" or ""
        local spec = name .. equals .. "[" .. bracketed(o.what) .. "]" .. zsh_value(o)
        specs[#specs + 1] = "        " .. quote(spec) .. " \\\n"
      end
    end
    local words = c.name == "help" and "command:(" .. names(commands) .. ")" or "file:_files"
    cases[#cases + 1] = "    " .. c.name .. ")\n      _arguments \\\n" .. table.concat(specs)
      .. "        '--help[what the command does]' '*:" .. words .. "' ;;\n"
  end
  return "#compdef gwrun\n" .. HEAD .. ([[
_gwrun() {
  local -a commands
  commands=(
@LIST@  )
  local curcontext=$curcontext state line
  _arguments -C '-c[the configuration]:FILE:_files' '1:command:->command' '*::word:->words'
  case $state in
  command) _describe command commands ;;
  words)
    case $line[1] in
@CASES@    esac ;;
  esac
}
_gwrun "$@"
]]):gsub("@(%u+)@", { LIST = table.concat(list), CASES = table.concat(cases) })
end

function M.fish(commands)
  local lines = {}
  local function add(...) lines[#lines + 1] = table.concat({ "complete -c gwrun", ... }, " ") end
  for _, c in ipairs(commands) do
    add("-f -n __fish_use_subcommand -a", c.name, "-d", quote(c.summary))
    local condition = "-n '__fish_seen_subcommand_from " .. c.name .. "'"
    for _, o in ipairs(c.options) do
      local words = { condition }
      if o.short then words[#words + 1] = "-s " .. o.short:sub(2) end
      if o.long then words[#words + 1] = "-l " .. o.long:sub(3) end
      if choices(o) then
        words[#words + 1] = "-x -a " .. quote(choices(o))
      elseif o.value then
        words[#words + 1] = o.value == "FILE" and "-r -F" or "-x"
      end
      add(table.concat(words, " "), "-d", quote(o.what))
    end
    add(condition, "-l help -d 'what the command does'")
  end
  add("-f -n '__fish_seen_subcommand_from help' -a", quote(names(commands)))
  return HEAD .. table.concat(lines, "\n") .. "\n"
end

return M
