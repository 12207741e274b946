;; Ten functions of equal work. True shares of time: $zero to $nine, 10% each; everything else, under
;; 0.05%.
;;
;; The unit of work is a step, x = (x * 0x5851f42d4c957f2d) ^ 0x14057b7ef767814f, two instructions that each wait for
;; the one before, so time is proportional to the number of steps. Each round draws a length from 1
;; to 32 and uses it for every side, so that the shares stay exact and no period of the program can
;; fall in with the sampler's.
;;
;; `run` takes a scale (1 is about 5 ms) and returns nothing; `_start` runs it at 300. `sink` holds
;; the end of the chain of all runs so far, to compare.
(module $ten_equal
  (global $seed (mut i64) (i64.const 88172645463325252))
  (global $sink (export "sink") (mut i64) (i64.const 1))

  ;; The length of the next round, from 1 to 32.
  (func $length (result i32)
    (local $x i64)
    (local.set $x (global.get $seed))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
    (global.set $seed (local.get $x))
    (i32.add (i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 20))) (i32.const 31)) (i32.const 1)))

  (func $zero (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $one (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $two (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $three (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $four (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $five (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $six (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $seven (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $eight (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $nine (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $run (export "run") (param $scale i32)
    (local $length i32) (local $x i64)
    (local.set $scale (i32.mul (local.get $scale) (i32.const 24)))
    (local.set $x (global.get $sink))
    (block $done
      (loop $round
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $length (call $length))
        (local.set $x (call $zero (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $one (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $two (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $three (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $four (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $five (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $six (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $seven (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $eight (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $x (call $nine (i32.mul (local.get $length) (i32.const 1000)) (local.get $x)
          (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $round)))
    (global.set $sink (local.get $x)))

  (func (export "_start") (call $run (i32.const 300))))
