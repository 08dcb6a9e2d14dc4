#include "../wire/vectors.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>

#include "lualib/lvalue.h"
#include "wire/phpser.h"

static lua_State *L;

static int open_state(void **state)
{
    L = luaL_newstate();
    luaL_openlibs(L);
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    return 0;
}

static int close_state(void **state)
{
    lua_close(L);
    return 0;
}

/* The value of a Lua expression. */
static void push_lua(const char *expression)
{
    lua_pushfstring(L, "return %s", expression);
    if (luaL_dostring(L, lua_tostring(L, -1)))
        fail_msg("%s", lua_tostring(L, -1));
    lua_remove(L, -2);
}

/* serialize(value of the expression) */
static void assert_writes(const char *expression, const char *want)
{
    struct buf out = {0};

    push_lua(expression);
    assert_null(lvalue_put(L, -1, &out, "v"));
    lua_pop(L, 1);
    assert_int_equal(lua_gettop(L), 0);
    assert_buf_text(&out, want);
    buf_fini(&out);
}

static void assert_refuses(const char *expression, const char *want)
{
    struct buf out = {0};

    buf_append_str(&out, "kept");
    push_lua(expression);
    assert_non_null(lvalue_put(L, -1, &out, "_SESSION"));
    assert_string_equal(lua_tostring(L, -1), want);
    lua_pop(L, 2);
    assert_buf_text(&out, "kept");
    buf_fini(&out);
}

/* Lua's view of the serialized text: v is it, the check must be true. */
static void assert_reads(const char *text, const char *check)
{
    struct bytes b = bytes_copy(text, strlen(text));

    assert_int_equal(lvalue_push(L, b.data, b.len), 0);
    bytes_fini(&b);
    lua_setglobal(L, "v");
    push_lua(check);
    if (!lua_toboolean(L, -1))
        fail_msg("%s: not %s", text, check);
    lua_pop(L, 1);
    assert_int_equal(lua_gettop(L), 0);
}

/* Vectors whose keys are not in our order. */
static bool is_reordered(const char *name)
{
    static const char *const names[] = {
        "map", "mixed", "nested", "numeric_string_key", "session", "sparse"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void carries_good_vectors_through_lua(void **state)
{
    json_t *root = vectors_load("spec/vectors/php-serialize.json");
    json_t *v;
    size_t i;

    json_array_foreach(json_object_get(root, "good"), i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));
        struct bytes b =
            bytes_from_hex(json_string_value(json_object_get(v, "hex")));
        struct buf once = {0}, twice = {0};

        assert_int_equal(lvalue_push(L, b.data, b.len), 0);
        assert_null(lvalue_put(L, -1, &once, "v"));
        lua_pop(L, 1);
        assert_int_equal(phpser_check(once.data, once.len), 0);
        assert_int_equal(once.len, b.len); /* nothing is lost */
        if (!is_reordered(name) && memcmp(once.data, b.data, b.len) != 0)
            fail_msg("%s: %.*s", name, (int)once.len, (char *)once.data);
        assert_int_equal(lvalue_push(L, once.data, once.len), 0);
        assert_null(lvalue_put(L, -1, &twice, "v"));
        lua_pop(L, 1);
        assert_buf_equal(&twice, once.data, once.len);
        buf_fini(&once);
        buf_fini(&twice);
        bytes_fini(&b);
    }
    json_decref(root);
}

static void leaves_out_what_php_alone_can_build(void **state)
{
    assert_reads("O:1:\"A\":1:{s:1:\"x\";i:1;}", "v == nil");
    assert_reads("a:2:{s:1:\"o\";O:1:\"A\":0:{}s:1:\"n\";i:1;}",
        "v.n == 1 and v.o == nil and next(v, next(v)) == nil");
    assert_reads("a:3:{i:0;i:1;i:1;E:3:\"A:B\";i:2;i:3;}",
        "v[0] == 1 and v[1] == nil and v[2] == 3");
    assert_reads("a:2:{i:0;i:1;i:1;R:2;}", "#v == 1 and v[1] == 1");
}

static void refuses_bad_vectors_and_leaves_the_stack(void **state)
{
    json_t *root = vectors_load("spec/vectors/php-serialize.json");
    json_t *v;
    size_t i;

    json_array_foreach(json_object_get(root, "bad"), i, v)
    {
        struct bytes b =
            bytes_from_hex(json_string_value(json_object_get(v, "hex")));

        assert_true(lvalue_push(L, b.data, b.len) < 0);
        assert_int_equal(lua_gettop(L), 0);
        bytes_fini(&b);
    }
    json_decref(root);
}

static void refuses_a_value_cut_anywhere(void **state)
{
    const char *text = "a:2:{i:0;a:1:{s:1:\"k\";d:0.5;}i:1;N;}";

    for (size_t n = 0; n < strlen(text); n++) {
        struct bytes b = bytes_copy(text, n);

        assert_true(lvalue_push(L, b.data, b.len) < 0);
        assert_int_equal(lua_gettop(L), 0);
        bytes_fini(&b);
    }
}

static void reads_lists_as_sequences(void **state)
{
    assert_reads("a:0:{}", "type(v) == 'table' and next(v) == nil");
    assert_reads("a:2:{i:0;s:1:\"a\";i:1;s:1:\"b\";}",
        "#v == 2 and v[1] == 'a' and v[2] == 'b' and v[0] == nil");
    assert_reads(
        "a:2:{i:0;a:1:{i:0;i:7;}i:1;a:0:{}}", "v[1][1] == 7 and #v[2] == 0");
}

static void keeps_the_keys_of_other_arrays(void **state)
{
    assert_reads("a:2:{i:1;i:10;i:2;i:20;}", "v[1] == 10 and v[2] == 20");
    assert_reads("a:3:{i:0;i:1;i:1;i:2;s:1:\"k\";i:3;}",
        "v[0] == 1 and v[1] == 2 and v[2] == nil and v.k == 3");
    assert_reads("a:3:{i:0;i:1;i:1;i:2;i:3;i:4;}",
        "v[0] == 1 and v[1] == 2 and v[3] == 4");
    assert_reads(
        "a:2:{i:-5;b:1;s:2:\"07\";b:0;}", "v[-5] == true and v['07'] == false");
    assert_reads("a:2:{s:1:\"7\";i:1;s:2:\"-5\";i:2;}",
        "v[7] == 1 and v[-5] == 2 and v['7'] == nil");
}

/* To PHP the array is a list: what was 0 must not come back as 1. */
static void comes_back_with_the_key_0_when_it_had_one(void **state)
{
    assert_writes("{ [0] = 'x' }", "a:1:{s:1:\"0\";s:1:\"x\";}");
    assert_writes("{ ['0'] = 1, ['1'] = { [0] = 2 } }",
        "a:2:{s:1:\"0\";i:1;i:1;a:1:{s:1:\"0\";i:2;}}");
    assert_writes("{ [0] = 1, k = 2 }", "a:2:{s:1:\"0\";i:1;s:1:\"k\";i:2;}");
    assert_reads("a:2:{s:1:\"0\";i:1;i:1;a:1:{s:1:\"0\";i:2;}}",
        "v[0] == 1 and v[1][0] == 2 and v[2] == nil and v['0'] == nil");
}

static void reads_null_as_nil_alone_and_as_a_sentinel_inside(void **state)
{
    assert_reads("N;", "v == nil");
    assert_reads("a:1:{s:1:\"z\";N;}", "v.z == null");
    assert_writes("{ z = null }", "a:1:{s:1:\"z\";N;}");
}

static void keeps_integers_and_floats_apart(void **state)
{
    assert_reads("d:3;", "math.type(v) == 'float' and v == 3");
    assert_reads("i:3;", "math.type(v) == 'integer' and v == 3");
    assert_writes("3.0", "d:3;");
    assert_writes("3", "i:3;");
}

static void writes_sequences_as_lists(void **state)
{
    assert_writes("{}", "a:0:{}");
    assert_writes("{ 'a', { 1 } }", "a:2:{i:0;s:1:\"a\";i:1;a:1:{i:0;i:1;}}");
}

static void writes_other_tables_with_their_keys_in_order(void **state)
{
    assert_writes("{ b = 1, a = 2, [10] = 3, [-1] = 4, aa = 5 }",
        "a:5:{i:-1;i:4;i:10;i:3;s:1:\"a\";i:2;s:2:\"aa\";i:5;s:1:\"b\";i:1;}");
    assert_writes("{ 'x', 'y', k = 1 }",
        "a:3:{i:1;s:1:\"x\";i:2;s:1:\"y\";s:1:\"k\";i:1;}");
    assert_writes("{ a = { x = 1 }, b = { y = 2 } }",
        "a:2:{s:1:\"a\";a:1:{s:1:\"x\";i:1;}s:1:\"b\";a:1:{s:1:\"y\";i:2;}}");
    assert_writes(
        "{ [1] = 1, [2] = 2, [4] = 4 }", "a:3:{i:1;i:1;i:2;i:2;i:4;i:4;}");
}

static void writes_integers_in_strings_as_php_would(void **state)
{
    assert_writes("{ ['7'] = 1, ['07'] = 2, [5] = 3 }",
        "a:3:{i:5;i:3;i:7;i:1;s:2:\"07\";i:2;}");
    assert_refuses("{ a = { ['7'] = 1, [7] = 2 } }",
        "_SESSION.a has both 7 and \"7\" as keys, which are the same when "
        "saved");
}

static void sorts_many_keys(void **state)
{
    struct buf out = {0};

    push_lua("(function() local t = {} for i = 1, 2000 do "
             "t['k' .. i] = { i } end return t end)()");
    assert_null(lvalue_put(L, -1, &out, "v"));
    lua_pop(L, 1);
    assert_memory_equal(out.data, "a:2000:{s:2:\"k1\";a:1:{i:0;i:1;}s:3:\"k10",
        strlen("a:2000:{s:2:\"k1\";a:1:{i:0;i:1;}s:3:\"k10"));
    assert_int_equal(phpser_check(out.data, out.len), 0);
    buf_fini(&out);
}

static void names_the_place_of_what_cannot_be_saved(void **state)
{
    assert_refuses("print", "_SESSION is a function, which cannot be saved");
    assert_refuses("{ cart = { 1, 2, { price = print } } }",
        "_SESSION.cart[3].price is a function, which cannot be saved");
    assert_refuses("{ ['a b\\n'] = coroutine.create(print) }",
        "_SESSION[\"a b\\n\"] is a coroutine, which cannot be saved");
    assert_refuses(
        "{ f = io.stdout }", "_SESSION.f is a userdata, which cannot be saved");
    assert_refuses("{ o = setmetatable({}, {}) }",
        "_SESSION.o is a table with a metatable, which cannot be saved");
    assert_refuses("{ x = { [1.5] = 1 } }",
        "_SESSION.x has a key that is a fraction, which cannot be saved");
    assert_refuses("{ [true] = 1 }",
        "_SESSION has a key that is a boolean, which cannot be saved");
    for (int i = 0; i < 20; i++) /* deep paths do not overflow */
        assert_refuses("{ k = { k = { k = { k = print } } } }",
            "_SESSION.k.k.k.k is a function, which cannot be saved");
}

static void refuses_cycles_and_deep_tables(void **state)
{
    const char *too_deep =
        "_SESSION contains itself or is nested deeper than 64 tables, and "
        "cannot be saved";

    assert_refuses(
        "(function() local t = {} t.t = t return t end)()", too_deep);
    assert_refuses("(function() local t = 1 for i = 1, 65 do t = { t } end "
                   "return t end)()",
        too_deep);
    assert_refuses("(function() local t = {} for i = 1, 65 do "
                   "t = { ['a-' .. ('x'):rep(300)] = t } end return t end)()",
        too_deep);
}

static void writes_what_it_can_read_at_the_limit_of_depth(void **state)
{
    struct buf out = {0};

    push_lua("(function() local t = 1 for i = 1, 64 do t = { t } end "
             "return t end)()");
    assert_null(lvalue_put(L, -1, &out, "v"));
    assert_int_equal(lvalue_push(L, out.data, out.len), 0);
    lua_pop(L, 2);
    buf_fini(&out);
}

static void refuses_what_is_too_large(void **state)
{
    assert_refuses("{ ('x'):rep(9 << 20), ('x'):rep(9 << 20), 1 }",
        "_SESSION is larger than 16777216 bytes when saved");
}

static void survives_a_path_longer_than_its_message(void **state)
{
    struct buf out = {0};

    push_lua("(function() local t = print for i = 1, 60 do "
             "t = { ['a-' .. ('x'):rep(300)] = t } end return t end)()");
    assert_non_null(lvalue_put(L, -1, &out, "_SESSION"));
    lua_pop(L, 2);
    buf_fini(&out);
}

static void fails_with_nil_message_and_code(void **state)
{
    assert_int_equal(lvalue_fail(L, -ETIMEDOUT), 3);
    assert_true(lua_isnil(L, -3));
    assert_string_equal(lua_tostring(L, -2), "connection timed out");
    assert_string_equal(lua_tostring(L, -1), "etimedout");
    lua_pop(L, 3);
    lua_pushstring(L, "mine");
    assert_int_equal(lvalue_fail_with(L, -ENOBUFS), 3);
    assert_string_equal(lua_tostring(L, -2), "mine");
    assert_string_equal(lua_tostring(L, -1), "enobufs");
    lua_pop(L, 3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_good_vectors_through_lua),
        cmocka_unit_test(leaves_out_what_php_alone_can_build),
        cmocka_unit_test(refuses_bad_vectors_and_leaves_the_stack),
        cmocka_unit_test(refuses_a_value_cut_anywhere),
        cmocka_unit_test(reads_lists_as_sequences),
        cmocka_unit_test(keeps_the_keys_of_other_arrays),
        cmocka_unit_test(comes_back_with_the_key_0_when_it_had_one),
        cmocka_unit_test(reads_null_as_nil_alone_and_as_a_sentinel_inside),
        cmocka_unit_test(keeps_integers_and_floats_apart),
        cmocka_unit_test(writes_sequences_as_lists),
        cmocka_unit_test(writes_other_tables_with_their_keys_in_order),
        cmocka_unit_test(writes_integers_in_strings_as_php_would),
        cmocka_unit_test(sorts_many_keys),
        cmocka_unit_test(names_the_place_of_what_cannot_be_saved),
        cmocka_unit_test(refuses_cycles_and_deep_tables),
        cmocka_unit_test(writes_what_it_can_read_at_the_limit_of_depth),
        cmocka_unit_test(refuses_what_is_too_large),
        cmocka_unit_test(survives_a_path_longer_than_its_message),
        cmocka_unit_test(fails_with_nil_message_and_code),
    };

    return cmocka_run_group_tests_name(
        "lualib.lvalue", tests, open_state, close_state);
}
