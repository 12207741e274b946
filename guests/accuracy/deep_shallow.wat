;; Deep against shallow: the same work below 500 frames of $descend and below one of $shallow. True
;; shares of time: $deep_work 50%, $shallow_work 50%; everything else (going down and up), under 0.1%.
;;
;; The unit of work is a step, x = (x * 0x5851f42d4c957f2d) ^ 0x14057b7ef767814f, two instructions that each wait for
;; the one before, so time is proportional to the number of steps. Each round draws a length from 1
;; to 32 and uses it for every side, so that the shares stay exact and no period of the program can
;; fall in with the sampler's.
;;
;; `run` takes a scale (1 is about 5 ms) and returns nothing; `_start` runs it at 300. `sink` holds
;; the end of the chain of all runs so far, to compare.
(module $deep_shallow
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

  (func $deep_work (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  (func $shallow_work (param $steps i32) (param $x i64) (param $k i64) (param $c i64) (result i64)
    (loop $again
      (local.set $x (i64.xor (i64.mul (local.get $x) (local.get $k)) (local.get $c)))
      (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $x))

  ;; Goes down $left frames, works there, and changes the result on the way up, so that the frames stay.
  (func $descend (param $left i32) (param $steps i32) (param $x i64) (result i64)
    (if (i32.eqz (local.get $left))
      (then (return (call $deep_work (local.get $steps) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))))
    (i64.xor
      (call $descend (i32.sub (local.get $left) (i32.const 1)) (local.get $steps) (local.get $x))
      (i64.const 1)))

  (func $shallow (param $steps i32) (param $x i64) (result i64)
    (call $shallow_work (local.get $steps) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)))

  (func $run (export "run") (param $scale i32)
    (local $length i32) (local $x i64)
    (local.set $scale (i32.mul (local.get $scale) (i32.const 1)))
    (local.set $x (global.get $sink))
    (block $done
      (loop $round
        (br_if $done (i32.eqz (local.get $scale)))
        (local.set $length (call $length))
        (local.set $x (call $descend (i32.const 499) (i32.mul (local.get $length) (i32.const 100000)) (local.get $x)))
        (local.set $x (call $shallow (i32.mul (local.get $length) (i32.const 100000)) (local.get $x)))
        (local.set $scale (i32.sub (local.get $scale) (i32.const 1)))
        (br $round)))
    (global.set $sink (local.get $x)))

  (func (export "_start") (call $run (i32.const 300))))
