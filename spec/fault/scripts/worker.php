<?php
// A worker of GatewayWorker's own for the laboratory: it writes the same lines as
// events.lua. Environment: GATEWAYWORKER (a folder with GatewayWorker, workerman and
// coroutine as their repositories have them), LAB_LOG, LAB_REGISTER.
use GatewayWorker\BusinessWorker;
use GatewayWorker\Lib\Gateway;
use Workerman\Worker;

$root = getenv('GATEWAYWORKER');
spl_autoload_register(function ($class) use ($root) {
    $path = str_replace('\\', '/', $class) . '.php';
    $places = ['GatewayWorker/' => 'GatewayWorker/src/', 'Workerman/Coroutine/' => 'coroutine/src/',
        'Workerman/' => 'workerman/src/'];
    foreach ($places as $name => $folder) {
        if (strpos($path, $name) === 0 && is_file($file = "$root/$folder" . substr($path, strlen($name)))) {
            require $file;
            return;
        }
    }
});

class Events
{
    private static $log;

    private static function note(...$words)
    {
        fwrite(self::$log, implode(' ', $words) . "\n");
    }

    public static function onWorkerStart()
    {
        self::$log = fopen(getenv('LAB_LOG'), 'a');
        self::note('W', getmypid());
    }

    public static function onConnect($id)
    {
        self::note('B', getmypid(), 'connect', $id);
        Gateway::sendToCurrentClient("hello $id");
        self::note('E', getmypid(), 'connect', $id);
    }

    public static function onMessage($id, $message)
    {
        [$life, $number, $action] = explode(' ', $message);
        self::note('B', getmypid(), 'message', $id, $life, $number);
        if ($action === 'session') {
            // Now, and not after the answer, as GatewayWorker saves $_SESSION.
            Gateway::updateSession($id, ['n' => $number]);
        }
        Gateway::sendToCurrentClient("r $number");
        self::note('E', getmypid(), 'message', $id, $life, $number);
    }

    public static function onClose($id)
    {
        self::note('B', getmypid(), 'close', $id, '-', '-', 'certain', $_SESSION['n'] ?? '-', '-');
        self::note('E', getmypid(), 'close', $id);
    }
}

Worker::$pidFile = dirname(getenv('LAB_LOG')) . '/php.pid';
Worker::$logFile = dirname(getenv('LAB_LOG')) . '/php.log';
$worker = new BusinessWorker();
$worker->name = 'PHP';
$worker->count = 1;
$worker->registerAddress = getenv('LAB_REGISTER');
Worker::runAll();
