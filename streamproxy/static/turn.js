/** One question and its answer, as they stand in a conversation. */

import { AnswerView } from "./answer.js";
import { QuestionView } from "./question.js";

export class Turn {
  /** The stream that brought the answer; empty until that is known. */
  streamId;
  /** The answer's finish reason, null while there is none. */
  ending = null;
  /** Whether something of it was lost between the server and here. */
  gaps = false;

  /** `onEdit(turn, text)` is null for what cannot be asked again; `hasLater(turn)`: more was said since. */
  constructor(text, { streamId = "", onEdit, hasLater, onGrow }) {
    this.text = text;
    this.streamId = streamId;
    this.question = new QuestionView(text, {
      onEdit: onEdit && ((better) => onEdit(this, better)),
      hasLater: () => hasLater(this),
    });
    this.answer = new AnswerView({ onGrow });
  }

  get elements() {
    return [this.question.element, this.answer.element];
  }

  /** A chunk of the answer has come. */
  take(chunk) {
    const { delta = {}, finish_reason: ending } = chunk.choices?.[0] ?? {};
    this.ending = ending ?? this.ending;
    if (delta.content || delta.refusal) this.answer.say(delta.content || delta.refusal);
    else if (delta.reasoning_content || delta.reasoning) this.answer.think();
  }

  /** Something of the answer is lost; what follows does not join on to it. */
  lose() {
    this.gaps = true;
    this.answer.say(" […] ");
  }

  /** It was taken back. */
  remove() {
    this.answer.abandon();
    for (const element of this.elements) element.remove();
  }
}
