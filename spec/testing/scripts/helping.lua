return function(text) return "helped " .. text end
