-- The rules of noughts and crosses, on a board of nine letters: "X", "O" or ".".
local M = { empty = ("."):rep(9) }

local LINES = {
  { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 }, { 1, 4, 7 }, { 2, 5, 8 }, { 3, 6, 9 },
  { 1, 5, 9 }, { 3, 5, 7 },
}

function M.other(mark) return mark == "X" and "O" or "X" end

--- The board after this move, or nil: it cannot be.
function M.play(board, square, mark)
  if math.type(square) ~= "integer" or square < 1 or square > 9 then return nil end
  if board:sub(square, square) ~= "." then return nil end
  return board:sub(1, square - 1) .. mark .. board:sub(square + 1)
end

--- "X", "O", "-" when the board is full, or nil: it goes on.
function M.winner(board)
  for _, line in ipairs(LINES) do
    local a, b, c = line[1], line[2], line[3]
    local mark = board:sub(a, a)
    if mark ~= "." and mark == board:sub(b, b) and mark == board:sub(c, c) then return mark end
  end
  return not board:find(".", 1, true) and "-" or nil
end

return M
