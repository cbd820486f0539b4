/** What the page says, in English and Chinese, and how it puts errors into plain words. */

const ENGLISH = {
  model: "Model",
  modelName: "Name of a model",
  newConversation: "New conversation",
  signOut: "Sign out",
  greeting: "What would you like to know?",
  lead: "Ask anything. The answer writes itself as it is thought of, and the conversation is remembered for half an hour.",
  openers: ["What are you?", "Show me Markdown and code", "How do sessions work?", "How do I connect a key?"],
  conversation: "Conversation",
  signInTitle: "Sign in",
  signInLead: "This server does not take guests. Paste an API token or a bearer; it stays in this tab and is forgotten with it.",
  signInHelp: "Whoever runs the server makes one with:",
  signIn: "Sign in",
  token: "Token",
  question: "Your message",
  questionHint: "Write a message",
  send: "Send",
  stop: "Stop (Esc)",
  keys: "Enter sends, Shift + Enter starts a new line.",
  toEnd: "To the newest message",
  you: "You",
  answer: "Answer",
  thinking: "Thinking…",
  waiting: "Waiting for the answer",
  complete: "The answer is complete.",
  stopped: "Stopped.",
  copy: "Copy",
  copied: "Copied",
  tryAgain: "Try again",
  goOn: "You can try again now.",
  wait: (time) => `You can try again in ${time}.`,
  timing: (first, total) => `first words after ${first} s, all after ${total} s`,
  leftOut: "This conversation is long: its middle was left out.",
  request: "Request",
  hours: (h, min) => `${h} h ${min} min`,
  minutes: (min, s) => `${min} min ${s} s`,
  seconds: (s) => `${s} s`,
  length: "The answer ends here because its limit of length is reached.",
  filtered: "The provider withheld the rest of this answer.",
  faults: {
    unreachable: "The server cannot be reached. Check the connection.",
    cut: "The connection broke before the answer was complete.",
    missing_credential: "Please sign in.",
    invalid_api_key: "This token is not accepted.",
    expired_credential: "This token has expired.",
    rate_limit_exceeded: "That were too many questions in a short time.",
    daily_limit_exceeded: "Today's limit is used up.",
    session_busy: "Another answer of this conversation is still being written.",
    context_length_exceeded: "This message is too long for the model.",
    request_too_large: "This message is too long.",
    model_not_found: "This model does not exist here. Choose another.",
    no_key_available: "No provider is free for this model just now.",
    upstream_rate_limited: "The model's provider is overrun just now.",
    upstream_quota: "The account at the model's provider is used up.",
    server_shutdown: "The server is restarting.",
    store_unavailable: "The server cannot take questions just now.",
    429: "That were too many questions for now.",
    502: "The model's provider failed.",
    504: "The model's provider took too long.",
    200: "The model's provider failed in the middle of the answer.",
  },
  unknownFault: "Something went wrong.",
};

const CHINESE = {
  model: "模型",
  modelName: "模型名称",
  newConversation: "新对话",
  signOut: "退出",
  greeting: "想了解些什么?",
  lead: "请随意提问。回答会逐字写出,对话内容会保留半小时。",
  openers: ["你是谁?", "展示 Markdown 和代码", "会话是怎么回事?", "如何接入密钥?"],
  conversation: "对话",
  signInTitle: "登录",
  signInLead: "此服务器不接待访客。请粘贴 API 令牌;它只保存在当前标签页,关闭后即被忘记。",
  signInHelp: "服务器管理员可用此命令生成令牌:",
  signIn: "登录",
  token: "令牌",
  question: "消息",
  questionHint: "输入消息",
  send: "发送",
  stop: "停止(Esc)",
  keys: "Enter 发送,Shift + Enter 换行。",
  toEnd: "回到最新消息",
  you: "我",
  answer: "回答",
  thinking: "思考中…",
  waiting: "正在等待回答",
  complete: "回答完毕。",
  stopped: "已停止。",
  copy: "复制",
  copied: "已复制",
  tryAgain: "重试",
  goOn: "现在可以重试了。",
  wait: (time) => `请在 ${time}后重试。`,
  timing: (first, total) => `首字 ${first} 秒,共 ${total} 秒`,
  leftOut: "对话较长,中间部分已略去。",
  request: "请求",
  hours: (h, min) => `${h} 小时 ${min} 分`,
  minutes: (min, s) => `${min} 分 ${s} 秒`,
  seconds: (s) => `${s} 秒`,
  length: "已达到长度上限,回答到此为止。",
  filtered: "服务商未给出其余内容。",
  faults: {
    unreachable: "无法连接服务器,请检查网络。",
    cut: "回答尚未写完,连接已中断。",
    missing_credential: "请先登录。",
    invalid_api_key: "令牌无效。",
    expired_credential: "令牌已过期。",
    rate_limit_exceeded: "短时间内提问过多。",
    daily_limit_exceeded: "今日次数已用完。",
    session_busy: "此对话中的上一个回答还在进行。",
    context_length_exceeded: "消息超出了模型的长度限制。",
    request_too_large: "消息过长。",
    model_not_found: "此处没有这个模型,请另选一个。",
    no_key_available: "该模型暂时没有可用的服务商。",
    upstream_rate_limited: "模型服务商目前繁忙。",
    upstream_quota: "模型服务商的账户额度已用完。",
    server_shutdown: "服务器正在重启。",
    store_unavailable: "服务器暂时无法接受提问。",
    429: "提问过多。",
    502: "模型服务商出错了。",
    504: "模型服务商响应超时。",
    200: "回答过程中,模型服务商出错了。",
  },
  unknownFault: "出错了。",
};

export const language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
export const texts = language === "zh" ? CHINESE : ENGLISH;

/** Put the page's own words where the markup asks for them. */
export function translate(root) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = texts[element.dataset.hint];
  for (const element of root.querySelectorAll("[data-label]")) {
    element.ariaLabel = texts[element.dataset.label];
    if (element instanceof HTMLButtonElement) element.title = texts[element.dataset.label];
  }
}

/** An ApiError in plain words. The server's own words stand where it says more than a kind of fault. */
export function plainly(fault) {
  return texts.faults[fault.code] ?? texts.faults[fault.status] ?? (fault.message || texts.unknownFault);
}

/** Seconds as people say them. */
export function duration(seconds) {
  const [h, min, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  if (h > 0) return texts.hours(h, min);
  return min > 0 ? texts.minutes(min, s) : texts.seconds(s);
}
